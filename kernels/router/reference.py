"""The choice of experts in float64."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Bool, Float, Int


def _softmax(logits: Float[np.ndarray, "experts"]) -> Float[np.ndarray, "experts"]:
    # SciPy is slow to import, and whoever only counts bytes and FLOPs needs no values.
    from scipy.special import softmax

    return softmax(logits)


def _sigmoid(logits: Float[np.ndarray, "experts"]) -> Float[np.ndarray, "experts"]:
    from scipy.special import expit

    return expit(logits)


SCORES: dict[str, Callable[[Float[np.ndarray, "experts"]], Float[np.ndarray, "experts"]]] = {
    "softmax": _softmax,
    "sigmoid": _sigmoid,
}
"""Softmax as in Shazeer et al., arXiv:1701.06538; sigmoid as in DeepSeek-V3, arXiv:2412.19437, equation 15."""


def kept(selection: Float[np.ndarray, "experts"], groups: int, top_groups: int, best: int) -> Bool[np.ndarray, "experts"]:
    """Whether an expert is in one of the groups whose `best` largest values have the largest sums; the first of equals."""
    grouped = selection.reshape(groups, -1)
    sums = np.sort(grouped)[:, -best:].sum(-1)
    is_kept = np.isin(np.arange(groups), np.argsort(-sums, kind="stable")[:top_groups])
    return np.repeat(is_kept, grouped.shape[1])


def ranked(selection: Float[np.ndarray, "experts"], top_k: int) -> Int[np.ndarray, "top_k"]:
    """The experts with the largest values, in descending order; the first of equals."""
    return np.argsort(-selection, kind="stable")[:top_k]
