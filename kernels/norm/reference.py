"""Norms in float64."""

import numpy as np
from jaxtyping import Float

EPSILON = 1e-5
"""Added to the variance; 1e-5 in Llama 3 and GPT-2 (1e-6 in Qwen): it costs the same."""


def rmsnorm(x: Float[np.ndarray, "rows d"], scale: Float[np.ndarray, "d"]) -> Float[np.ndarray, "rows d"]:
    """Y = x / sqrt(mean(x^2) + eps) * scale (Zhang and Sennrich, arXiv:1910.07467)."""
    return x / np.sqrt((x**2).mean(-1, keepdims=True) + EPSILON) * scale


def layernorm(
    x: Float[np.ndarray, "rows d"], scale: Float[np.ndarray, "d"], bias: Float[np.ndarray, "d"]
) -> Float[np.ndarray, "rows d"]:
    """Y = (x - mean(x)) / sqrt(var(x) + eps) * scale + bias (Ba et al., arXiv:1607.06450)."""
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + EPSILON) * scale + bias
