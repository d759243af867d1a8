"""Rows predicted by fits that have not seen them: whole groups held out, or whole machines, or whole engines."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from .interval import Seen, huber
from .runs import Runs
from .step_model import Design, design, fit, predict

FOLDS = 5


@dataclass(frozen=True)
class HeldOut:
    """Predictions of rows by fits without them.

    Attributes:
        time_us: predicted.
        log_variance: from the parameters' doubt.
        carried: how far the fit had to be, a place in `CARRIED`.
    """

    time_us: Float[np.ndarray, "rows"]
    log_variance: Float[np.ndarray, "rows"]
    carried: Int[np.ndarray, "rows"]


def folds(groups: Sequence[Hashable], seed: int = 0, count: int = FOLDS) -> Int[np.ndarray, "rows"]:
    """The fold of each row; rows of one group share theirs, and folds have like numbers of groups."""
    names = sorted(set(groups), key=repr)
    order = np.random.default_rng(seed).permutation(len(names))
    place = {names[index]: position % count for position, index in enumerate(order)}
    return np.array([place[group] for group in groups])


def one_by_one(levels: Sequence[Hashable]) -> Int[np.ndarray, "rows"]:
    """A fold per level, to leave out one level at a time."""
    places = {level: place for place, level in enumerate(dict.fromkeys(levels))}
    return np.array([places[level] for level in levels])


def held_out(
    runs: Runs,
    time_us: Float[np.ndarray, "rows"],
    fold: Int[np.ndarray, "rows"],
    whole: Design | None = None,
) -> HeldOut:
    """Each row predicted by the fit of all folds but its own.

    Args:
        runs: the rows' situations.
        time_us: published time per token.
        fold: of each row.
        whole: the design of the runs, if it is there already.
    """
    whole = whole or design(runs)
    noise = huber(runs)
    predicted, variance, carried = np.zeros(len(runs)), np.zeros(len(runs)), np.zeros(len(runs), dtype=np.int64)
    for one in np.unique(fold):
        inside, outside = np.flatnonzero(fold == one), np.flatnonzero(fold != one)
        hidden = runs.rows(inside)
        times = predict(design(hidden), fit(whole.rows(outside), time_us[outside], noise[outside]))
        predicted[inside], variance[inside] = times.time_us, times.log_variance
        carried[inside] = Seen.of(runs.rows(outside)).carried(hidden)
    return HeldOut(predicted, variance, carried)
