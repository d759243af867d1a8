"""GEMV head by head in float64."""

import numpy as np
from jaxtyping import Float


def head_gemv(weight: Float[np.ndarray, "heads n k"], x: Float[np.ndarray, "heads k"]) -> Float[np.ndarray, "heads n"]:
    """Y[h] = W[h] x[h]."""
    return (weight @ x[..., None])[..., 0]
