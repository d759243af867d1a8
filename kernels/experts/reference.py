"""Chosen experts in float64."""

import numpy as np
from jaxtyping import Float, Int


def products(
    weight: Float[np.ndarray, "experts n k"], chosen: Int[np.ndarray, "top_k"], x: Float[np.ndarray, "... k"]
) -> Float[np.ndarray, "top_k n"]:
    """Y[j] = W[chosen[j]] x, or W[chosen[j]] x[j] where each has a vector of its own."""
    return (weight[chosen] @ x[..., None])[..., 0]


def combined(y: Float[np.ndarray, "top_k n"], factors: Float[np.ndarray, "top_k"]) -> Float[np.ndarray, "n"]:
    """The sum of factors[j] Y[j]."""
    return factors @ y
