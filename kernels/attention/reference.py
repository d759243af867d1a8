"""Decode attention in float64."""

import numpy as np
from jaxtyping import Float


def attend(
    query: Float[np.ndarray, "heads head_dim"],
    keys: Float[np.ndarray, "kv_heads context head_dim"],
    values: Float[np.ndarray, "kv_heads context value_dim"],
    scale: float,
) -> Float[np.ndarray, "heads value_dim"]:
    """softmax(q K^T * scale) V, with heads / kv_heads queries sharing each cached head (GQA, arXiv:2305.13245)."""
    kv_heads = keys.shape[0]
    grouped = query.reshape(kv_heads, -1, query.shape[-1])
    scores = grouped @ keys.swapaxes(1, 2) * scale
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return (weights @ values).reshape(query.shape[0], -1)
