"""Pure statistics of interleaved samples of two revisions.

Samples come in quads, `base head head base` or `head base base head` by the toss of a coin, so that a steady drift
cancels inside a quad. If the revisions are equally fast, the coin alone decides the sign of a quad's log-ratio: its
distribution is symmetric around 0 whatever the machine does, which is all that Wilcoxon's signed-rank test asks for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float

Side = Literal["base", "head"]

CONFIDENCE = 0.95
"""Level of the interval on a shift."""
_ORDERS: tuple[tuple[Side, ...], ...] = (("base", "head", "head", "base"), ("head", "base", "base", "head"))


@dataclass(frozen=True)
class Estimate:
    """How much slower the head is than the base, as the natural logarithm of the ratio of times.

    Attributes:
        low, point, high: Hodges-Lehmann estimate with its signed-rank interval.
        p: of the two-sided signed-rank test against no difference.
        count: quads or pairs that it rests on.
    """

    low: float
    point: float
    high: float
    p: float
    count: int

    @property
    def half_width(self) -> float:
        """Half the interval."""
        return (self.high - self.low) / 2


def order(rng: np.random.Generator) -> tuple[Side, ...]:
    """The order of a quad's four samples."""
    return _ORDERS[int(rng.integers(2))]


def log_ratio(base: Sequence[float], head: Sequence[float]) -> float:
    """Mean logarithm of the head's times over that of the base's, of one quad or pair."""
    return float(np.mean(np.log(head)) - np.mean(np.log(base)))


def estimate(log_ratios: Float[np.ndarray, "quads"]) -> Estimate:
    """The shift of log-ratios and whether it is one (Hollander, Wolfe and Chicken 2014, sections 3.1 to 3.3).

    One disturbed quad, however far off, moves the estimate hardly at all. Too few quads for `CONFIDENCE` have an
    interval without end.

    Raises:
        ValueError: if there are no log-ratios.
    """
    count = len(log_ratios)
    if not count:
        raise ValueError("a shift must be estimated from at least one log-ratio; got none")
    first, second = np.triu_indices(count)
    averages = np.sort((log_ratios[first] + log_ratios[second]) / 2)
    point = float(np.median(averages))
    below = _cumulative(count)
    # Averages that the interval leaves out at each end.
    outside = int(np.searchsorted(below, (1 - CONFIDENCE) / 2, side="right"))
    low, high = (averages[outside - 1], averages[-outside]) if outside else (-math.inf, math.inf)
    return Estimate(float(low), point, float(high), _p(log_ratios, below), count)


def _p(log_ratios: Float[np.ndarray, "quads"], below: Float[np.ndarray, "sums"]) -> float:
    ranks = 1 + np.argsort(np.argsort(np.abs(log_ratios)))
    positive = float(np.sum(ranks * (np.sign(log_ratios) + 1) / 2))
    lesser = min(positive, ranks.sum() - positive)
    return min(1.0, 2 * float(below[math.floor(lesser)]))


@cache
def _cumulative(count: int) -> Float[np.ndarray, "sums"]:
    """Chance that the sum of the positive ranks of `count` log-ratios is at most 0, 1, 2, ... where nothing differs."""
    chance = np.zeros(count * (count + 1) // 2 + 1)
    chance[0] = 1.0
    for rank in range(1, count + 1):
        moved = np.zeros_like(chance)
        moved[rank:] = chance[:-rank]
        chance = (chance + moved) / 2
    return np.cumsum(chance)
