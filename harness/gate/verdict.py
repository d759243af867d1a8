"""From estimates to verdicts: which differences count, which are to be confirmed, and what the gate ends with."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy import stats

from .pair import Estimate

Ruling = Literal["slower", "faster", "same", "inconclusive"]
Quantity = Literal["latency", "compile time"]

NOTHING_SLOWER, SLOWER, INCONCLUSIVE, NOT_COMPARABLE, USAGE = range(5)
"""Exit codes of the gate."""

_Name = TypeVar("_Name")


@dataclass(frozen=True)
class Policy:
    """What counts as a difference.

    Attributes:
        least: relative change of a latency that matters.
        least_compile: relative change of a compile time that matters.
        false_discovery: accepted share of false ones among the suspicions, over all kernels and quantities.
        confirmations: fresh pairs of processes that must all show a suspected change.
    """

    least: float = 0.03
    least_compile: float = 0.10
    false_discovery: float = 0.01
    confirmations: int = 2

    def least_shift(self, quantity: Quantity) -> float:
        """The least change as a logarithm."""
        return math.log1p(self.least if quantity == "latency" else self.least_compile)


@dataclass(frozen=True)
class Verdict:
    """What is said of one quantity of one kernel.

    Attributes:
        ruling: in one word.
        reason: in words.
        estimate: how much slower the head is.
    """

    ruling: Ruling
    reason: str
    estimate: Estimate

    @property
    def is_change(self) -> bool:
        """Something differs; before it was confirmed, something may."""
        return self.ruling in ("slower", "faster")


def first_look(estimates: Mapping[tuple[_Name, Quantity], Estimate], policy: Policy) -> dict[tuple[_Name, Quantity], Verdict]:
    """Verdicts from one pair of processes; those that speak of a change are suspicions still.

    The false-discovery rate is controlled over everything that was judged (Benjamini and Hochberg 1995).
    """
    names = list(estimates)
    adjusted = stats.false_discovery_control([estimates[name].p for name in names]) if names else np.array([])
    return {
        name: _first(estimates[name], float(p), policy.least_shift(name[1]), policy.false_discovery)
        for name, p in zip(names, adjusted, strict=True)
    }


def _first(found: Estimate, p: float, least: float, false_discovery: float) -> Verdict:
    counts = f"{found.count} interleaved comparisons"
    if abs(found.point) >= least and p <= false_discovery:
        ruling: Ruling = "slower" if found.point > 0 else "faster"
        return Verdict(ruling, f"{change(found.point)} in {counts}, adjusted p {p:.2g}", found)
    if -least < found.low and found.high < least:
        return Verdict("same", f"within {_less(least)} either way in {counts}", found)
    between = f"between {change(found.low)} and {change(found.high)} after {counts}"
    return Verdict("inconclusive", f"{between}: neither within {_less(least)} nor a sure change", found)


def confirmed(suspicion: Verdict, fresh: Sequence[Estimate], least: float, policy: Policy) -> Verdict:
    """The last word on a suspicion, from estimates in pairs of processes that were started for it.

    Two processes with the same code differ by where their memory lies, so that within one pair of them a difference
    can be sure and yet not be the code's. A change is confirmed where each fresh pair shows at least half the least
    change in the same direction, for sure, and their mean is at least the least change.

    Args:
        suspicion: of the first look.
        fresh: one estimate per pair of processes.
        least: change that matters, as a logarithm.
    """
    if len(fresh) < policy.confirmations:
        missing = f"only {len(fresh)} of {policy.confirmations} fresh pairs of processes could be measured in the time given"
        return Verdict("inconclusive", f"{suspicion.reason}; {missing}", suspicion.estimate)
    sign = 1 if suspicion.ruling == "slower" else -1
    pooled = Estimate(
        min(one.low for one in fresh),
        float(np.mean([one.point for one in fresh])),
        max(one.high for one in fresh),
        max(one.p for one in fresh),
        sum(one.count for one in fresh),
    )
    seen = " and ".join(change(one.point) for one in fresh)
    if sign * pooled.point >= least and all(sign * one.point >= least / 2 and one.p <= policy.false_discovery for one in fresh):
        return Verdict(suspicion.ruling, f"{suspicion.reason}; confirmed by {seen} in fresh processes", pooled)
    if all(abs(one.point) < least for one in fresh):
        return Verdict("same", f"{change(suspicion.estimate.point)} at first, but {seen} in fresh processes", pooled)
    return Verdict("inconclusive", f"{change(suspicion.estimate.point)} at first, and {seen} in fresh processes", pooled)


def exact_changes(base: Mapping[str, float | None], head: Mapping[str, float | None]) -> dict[str, tuple[float, float]]:
    """Quantities that are exact and differ: name -> (base, head). What one side does not tell is left out."""
    pairs = {name: (before, head.get(name)) for name, before in base.items()}
    return {
        name: (before, after)
        for name, (before, after) in pairs.items()
        if before is not None and after is not None and before != after
    }


def exit_code(rulings: Sequence[Ruling], *, newly_wrong: bool, inconclusive_fails: bool) -> int:
    """What the gate ends with where the revisions could be compared."""
    if newly_wrong or "slower" in rulings:
        return SLOWER
    return INCONCLUSIVE if inconclusive_fails and "inconclusive" in rulings else NOTHING_SLOWER


def change(shift: float) -> str:
    """A shift in percent of the base, with its sign."""
    if math.isinf(shift):
        return "any slowdown" if shift > 0 else "any speedup"
    return f"{math.expm1(shift):+.1%}"


def _less(least: float) -> str:
    return f"{math.expm1(least):.0%}"
