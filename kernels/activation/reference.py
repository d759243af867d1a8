"""Non-linearities in float64."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float


def _sigmoid(x: Float[np.ndarray, "*rows d"]) -> Float[np.ndarray, "*rows d"]:
    # SciPy is slow to import, and whoever only counts bytes and FLOPs needs no values.
    from scipy.special import expit

    return expit(x)


def _erf(x: Float[np.ndarray, "*rows d"]) -> Float[np.ndarray, "*rows d"]:
    from scipy.special import erf

    return erf(x)


FUNCTIONS: dict[str, Callable[[Float[np.ndarray, "*rows d"]], Float[np.ndarray, "*rows d"]]] = {
    "silu": lambda x: x * _sigmoid(x),
    "gelu": lambda x: 0.5 * x * (1 + _erf(x / np.sqrt(2))),
    "relu": lambda x: np.maximum(x, 0),
}
"""SiLU and GELU as in Hendrycks and Gimpel, arXiv:1606.08415 (GELU in its exact form)."""


def activate(function: str, gated: bool, x: Float[np.ndarray, "*rows width"]) -> Float[np.ndarray, "*rows d"]:
    """f(x), or f(gate) * up where the first half of the last axis of x is the gate (SwiGLU, Shazeer, arXiv:2002.05202)."""
    if not gated:
        return FUNCTIONS[function](x)
    gate, up = np.split(x, 2, axis=-1)
    return FUNCTIONS[function](gate) * up
