"""A table row in float64."""

import numpy as np
from jaxtyping import Float


def row(table: Float[np.ndarray, "rows d"], index: int) -> Float[np.ndarray, "d"]:
    """Y = T[i]."""
    return table[index]


def row_added(table: Float[np.ndarray, "rows d"], index: int, x: Float[np.ndarray, "d"]) -> Float[np.ndarray, "d"]:
    """Y = x + T[i]."""
    return x + table[index]
