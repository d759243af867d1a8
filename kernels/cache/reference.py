"""KV-cache update in float64."""

import numpy as np
from jaxtyping import Float


def update(
    cache: Float[np.ndarray, "kv_heads context head_dim"], new: Float[np.ndarray, "kv_heads head_dim"], position: int
) -> Float[np.ndarray, "kv_heads context head_dim"]:
    """The cache with row `position` of every head replaced."""
    cache = cache.copy()
    cache[:, position] = new
    return cache
