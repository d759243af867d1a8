"""Where a series changes its level: E-divisive, hierarchical, with a permutation test.

Matteson and James, "A nonparametric approach for multiple change point analysis of multivariate data" (JASA 109, 2014),
with the exponent 1 and both segments reaching from one change point to the next, as MongoDB and Apache Otava use it
for benchmarks (Daly et al., ICPE 2020).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float, Int

LEAST_POINTS = 2
"""Of a segment: of one point alone there is no saying how far its values scatter."""


@dataclass(frozen=True)
class Change:
    """A change of the level.

    Attributes:
        place: of the first point after it.
        before, after: medians of the segments on both sides.
        p: of the permutation test.
    """

    place: int
    before: float
    after: float
    p: float


def change_points(
    values: Sequence[float], *, least: float, significance: float = 0.01, permutations: int = 499, seed: int = 0
) -> list[Change]:
    """The changes of a series' level, from left to right.

    Args:
        values: in order.
        least: difference of the medians that matters; changes that are less are not looked for.
        significance: largest p of a change.
        permutations: of the test, so that p is at least 1 / (permutations + 1).
        seed: of the permutations.
    """
    series = np.asarray(values, dtype=float)
    rng = np.random.default_rng(seed)
    places: dict[int, float] = {}
    segments = [(0, len(series))]
    while segments:
        start, stop = segments.pop()
        part = series[start:stop]
        if len(part) < 2 * LEAST_POINTS:
            continue
        divergence, place = _best(part, np.arange(len(part)))
        chance = [_best(part, rng.permutation(len(part)))[0] >= divergence for _ in range(permutations)]
        p = (1 + sum(chance)) / (1 + permutations)
        if p <= significance:
            places[start + place] = p
            segments += [(start, start + place), (start + place, stop)]
    return _sizable(series, places, least)


def _sizable(series: Float[np.ndarray, "points"], places: dict[int, float], least: float) -> list[Change]:
    """The changes that are large enough; where the smallest is not, its segments are one."""
    kept = dict(places)
    while kept:
        ends = [0, *sorted(kept), len(series)]
        medians = [float(np.median(series[start:stop])) for start, stop in pairwise(ends)]
        found = [
            Change(place, before, after, kept[place])
            for place, before, after in zip(sorted(kept), medians, medians[1:], strict=False)
        ]
        smallest = min(found, key=lambda one: abs(one.after - one.before))
        if abs(smallest.after - smallest.before) >= least:
            return found
        del kept[smallest.place]
    return []


def _best(part: Float[np.ndarray, "points"], order: Int[np.ndarray, "points"]) -> tuple[float, int]:
    """The largest divergence of two segments of a series, and where the second begins."""
    ordered = part[order]
    # within[i]: sum of the distances of all pairs among the first i points; likewise of the last ones from the right.
    count = len(ordered)
    distances = np.abs(ordered[:, None] - ordered[None, :])
    corner = np.cumsum(np.cumsum(distances, axis=0), axis=1)
    cut = np.arange(LEAST_POINTS, count - LEAST_POINTS + 1)
    left = corner[cut - 1, cut - 1] / 2
    across = corner[cut - 1, count - 1] - 2 * left
    right = corner[count - 1, count - 1] / 2 - left - across
    n, m = cut, count - cut
    divergence = n * m / count * (2 * across / (n * m) - 2 * left / (n * (n - 1)) - 2 * right / (m * (m - 1)))
    place = int(np.argmax(divergence))
    return float(divergence[place]), int(cut[place])
