"""Sampling in float64: the same draw, given the same uniform number."""

import numpy as np
from jaxtyping import Float


def greedy(logits: Float[np.ndarray, "vocab"]) -> int:
    """The most likely token; the first of equals."""
    return int(np.argmax(logits))


def top_k(logits: Float[np.ndarray, "vocab"], k: int, uniform: float) -> int:
    """Draws from the softmax over the k largest logits (Fan et al., arXiv:1805.04833), by inverting its cumulative sum."""
    order = np.argsort(-logits, kind="stable")[:k]
    return int(order[_draw(_softmax(logits[order]), uniform)])


def top_p(logits: Float[np.ndarray, "vocab"], p: float, uniform: float) -> int:
    """Draws from the smallest set of likeliest tokens whose mass reaches p (nucleus sampling, arXiv:1904.09751)."""
    order = np.argsort(-logits, kind="stable")
    probabilities = _softmax(logits[order])
    kept = np.cumsum(probabilities) - probabilities < p
    return int(order[kept][_draw(probabilities[kept] / probabilities[kept].sum(), uniform)])


def _softmax(logits: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    weights = np.exp(logits - logits.max())
    return weights / weights.sum()


def _draw(probabilities: Float[np.ndarray, "n"], uniform: float) -> int:
    return min(int(np.searchsorted(np.cumsum(probabilities), uniform, side="right")), len(probabilities) - 1)
