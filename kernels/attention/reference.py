"""Decode attention in float64, and what is added to its scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from jaxtyping import Float, Int

BUCKETS, FARTHEST = 32, 128
"""Distances that T5 tells apart, and the distance from which all are one (arXiv:1910.10683, section 2.1)."""


def attend(
    query: Float[np.ndarray, "heads head_dim"],
    keys: Float[np.ndarray, "kv_heads context head_dim"],
    values: Float[np.ndarray, "kv_heads context value_dim"],
    scale: float,
    *,
    softcap: float = 0.0,
    bias: Float[np.ndarray, "heads context"] | None = None,
    sinks: Float[np.ndarray, "heads"] | None = None,
) -> Float[np.ndarray, "heads value_dim"]:
    """softmax(q K^T * scale) V, with heads / kv_heads queries sharing each cached head (GQA, arXiv:2305.13245).

    Scores s become softcap * tanh(s / softcap) where `softcap` is not 0, then the bias is added to them. A sink is one
    more score of its head, whose value is zero.
    """
    kv_heads = keys.shape[0]
    grouped = query.reshape(kv_heads, -1, query.shape[-1])
    scores = grouped @ keys.swapaxes(1, 2) * scale
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    if bias is not None:
        scores = scores + bias.reshape(scores.shape)
    largest = scores.max(-1, keepdims=True)
    weights = np.exp(scores - largest)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + np.exp(sinks.reshape(kv_heads, -1, 1) - largest)
    return (weights / total @ values).reshape(query.shape[0], -1)


def distances(context: int) -> Int[np.ndarray, "context"]:
    """How far the newest token, which asks, is from each cached one: context - 1, ..., 1, 0."""
    return np.arange(context - 1, -1, -1, dtype=np.int32)


def alibi(slopes: Any, context: int) -> Any:
    """ALiBi (arXiv:2108.12409): minus a head's slope times the distance; [heads, context] of the slopes' own kind of array."""
    return slopes[:, None] * -distances(context).astype(np.float32)


def relative(table: Any, context: int) -> Any:
    """T5's bias: an entry of a head's table for each distance; [heads, context] of the table's own kind of array."""
    return table[:, buckets(distances(context))]


def buckets(distance: Int[np.ndarray, "context"]) -> Int[np.ndarray, "context"]:
    """T5's buckets of a decoder: one for each short distance, then ever wider ones, evenly spaced in the logarithm."""
    exact = BUCKETS // 2
    beyond = np.log(np.maximum(distance, exact) / exact) / np.log(FARTHEST / exact)
    return np.where(distance < exact, distance, np.minimum(exact + (beyond * (BUCKETS - exact)).astype(np.int32), BUCKETS - 1))
