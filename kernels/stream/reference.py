"""Streams in float64."""

import numpy as np
from jaxtyping import Float


def block_sums(source: Float[np.ndarray, "n"], block: int) -> Float[np.ndarray, "blocks"]:
    """Sums of blocks of consecutive elements; the last may be shorter."""
    return np.add.reduceat(source, np.arange(0, source.size, block))


def triad(left: Float[np.ndarray, "n"], right: Float[np.ndarray, "n"], scale: float) -> Float[np.ndarray, "n"]:
    """A = b + s c."""
    return left + scale * right
