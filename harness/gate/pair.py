"""Pure statistics of interleaved samples of two revisions.

Samples come in quads, `base head head base` or `head base base head` by the toss of a coin, so that a steady drift
cancels inside a quad. If the revisions are equally fast, the coin alone decides the sign of a quad's log-ratio: its
distribution is symmetric around 0 whatever the machine does, which is all that Wilcoxon's signed-rank test asks for.

A quad whose two samples of one side lie far apart was disturbed. Only the calmer quads are judged: how far they lie apart
does not change when the sides change names, so that the choice leaves the symmetry as it is.
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
CALM_SHARE = 2 / 3
"""Of the quads that are judged. On two cores that four others used, 5 % was found in 62 of 100 resampled comparisons of 128
quads with the calmer half or three quarters of them, in 44 with all of them and in 52 with a third."""
_ORDERS: tuple[tuple[Side, ...], ...] = (("base", "head", "head", "base"), ("head", "base", "base", "head"))


@dataclass(frozen=True)
class Quad:
    """Samples of both sides taken by turns, in seconds.

    Attributes:
        base, head: as often the one as the other.
    """

    base: tuple[float, ...]
    head: tuple[float, ...]

    @classmethod
    def read(cls, parts: Sequence[Sequence[float]]) -> Quad:
        """What a file holds of base and head.

        Raises:
            ValueError: for a time that is none.
        """
        if not all(math.isfinite(one) and one > 0 for part in parts for one in part):
            raise ValueError("a time must be a number of seconds above 0")
        return cls(*map(tuple, parts))

    @property
    def log_ratio(self) -> float:
        """Mean logarithm of the head's times over that of the base's."""
        return float(np.mean(np.log(self.head)) - np.mean(np.log(self.base)))

    @property
    def spread(self) -> float:
        """How far samples of one side lie apart, as a logarithm; 0 where each side has one."""
        return max(math.log(max(side) / min(side)) for side in (self.base, self.head))

    def slowed(self, share: float) -> Quad:
        """With each sample of the head charged for that share of another one, in which it did the same work."""
        return Quad(self.base, tuple(one + share * more for one, more in zip(self.head, self.head[::-1], strict=True)))


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


def judged(quads: Sequence[Quad]) -> Estimate:
    """The shift that the calmer quads tell of.

    Raises:
        ValueError: if there are no quads.
    """
    return estimate(calmer(quads))


def calmer(quads: Sequence[Quad]) -> Float[np.ndarray, "calm"]:
    """Log-ratios of the quads that were disturbed least, in the order in which they were taken."""
    spread = np.array([quad.spread for quad in quads])
    calm = np.argsort(spread, kind="stable")[: math.ceil(CALM_SHARE * len(quads))] if spread.any() else range(len(quads))
    return np.array([quads[place].log_ratio for place in sorted(calm)])


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
