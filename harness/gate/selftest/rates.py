"""How often the gate, and pytest-benchmark beside it, say that a kernel changed: pure statistics of what was measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from ..pair import Estimate
from ..trial import Key
from ..verdict import Policy, Ruling, settled, suspicions, undecided
from .rounds import Round, Series

PEER_LIMIT = 0.10
"""Slow-down that pytest-benchmark is told to fail at, `--benchmark-compare-fail=median:10%`."""
FOUND_SHARE = 0.9
"""A slow-down is seen where this share of its comparisons is called slower."""


@dataclass(frozen=True)
class Rate:
    """How often something came out.

    Attributes:
        count, of: times, of so many.
    """

    count: int
    of: int

    @property
    def share(self) -> float:
        """The one over the other; 0 of none."""
        return self.count / self.of if self.of else 0.0

    @property
    def interval(self) -> tuple[float, float]:
        """Where the true share lies with 95 % confidence (Clopper and Pearson 1934), were the comparisons independent."""
        if not self.of:
            return 0.0, 1.0
        found = stats.binomtest(self.count, self.of).proportion_ci(0.95, method="exact")
        return float(found.low), float(found.high)


def rulings(rounds: Sequence[Round], slowdown: float, policy: Policy) -> list[Ruling]:
    """What the gate says of each kernel in each round when that kernel alone is slowed down by a share.

    A suspicion is confirmed by the rounds that follow, the first ones after the last: every round is a pair of fresh
    processes. Each is judged as one of all its kernels, the others unchanged.
    """
    plain = [one.estimates() for one in rounds]
    slowed = plain if slowdown == 0 else [one.estimates(slowdown) for one in rounds]
    return [
        _ruling(place, key, plain[place] | {key: slowed[place][key]}, slowed, policy)
        for place, estimates in enumerate(slowed)
        for key in estimates
    ]


def peer_alarms(rounds: Sequence[Round], slowdown: float) -> list[bool]:
    """Whether pytest-benchmark would fail each kernel, held against the run of the base in the round before.

    As its `PercentageRegressionCheck` does (pytest-benchmark 5.3, `utils.py`): the median of this run's rounds over
    that of the stored run's.
    """
    alarms = []
    for place, one in enumerate(rounds[1:]):
        before = rounds[place].base
        for name in one.head.keys() & before.keys():
            alarms.append(_median(one.head[name], slowdown) / _median(before[name], 0.0) - 1 > PEER_LIMIT)
    return alarms


def found(said: Sequence[Ruling], *words: Ruling) -> Rate:
    """How often one of some words was said."""
    return Rate(sum(one in words for one in said), len(said))


def smallest_seen(rounds: Sequence[Round], policy: Policy, slowdowns: Sequence[float]) -> float | None:
    """The smallest of some slow-downs from which on each is found in `FOUND_SHARE` of the comparisons."""
    seen = None
    for slowdown in sorted(slowdowns, reverse=True):
        if found(rulings(rounds, slowdown, policy), "slower").share < FOUND_SHARE:
            break
        seen = slowdown
    return seen


def _ruling(
    place: int, key: Key, first: Mapping[Key, Estimate], slowed: Sequence[Mapping[Key, Estimate]], policy: Policy
) -> Ruling:
    fresh: dict[Key, list[Estimate]] = {key: []} if key in suspicions(first, policy) else {}
    for step in range(1, len(slowed)):
        if not undecided(first, fresh, policy):
            break
        fresh[key] += [one[key] for one in (slowed[(place + step) % len(slowed)],) if key in one]
    return settled(first, fresh, policy)[key].ruling


def _median(series: Series, slowdown: float) -> float:
    # As in a quad, each is charged for a share of another one.
    return float(np.median(np.array(series) + slowdown * np.roll(series, 1)))
