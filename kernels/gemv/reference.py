"""GEMV in float64."""

import numpy as np
from jaxtyping import Float


def gemv(weight: Float[np.ndarray, "n k"], x: Float[np.ndarray, "k"]) -> Float[np.ndarray, "n"]:
    """Y = W x."""
    return weight @ x
