"""From estimates to verdicts: which differences count, which are to be confirmed, and what the gate ends with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, TypeVar

import numpy as np
from scipy import stats

from .pair import CONFIDENCE, Estimate

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
        false_discovery: accepted share of false ones among what is called changed, of all quantities, at each look.
        confirmations: fresh pairs of processes that judge what seems to have changed, at the least.
        most_confirmations: where so many do not suffice.
    """

    least: float = 0.03
    least_compile: float = 0.10
    false_discovery: float = 0.05
    confirmations: int = 4
    most_confirmations: int = 16

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


def of_one_look(estimates: Mapping[tuple[_Name, Quantity], Estimate], policy: Policy) -> dict[tuple[_Name, Quantity], Verdict]:
    """Verdicts where nothing can be measured again.

    The false-discovery rate is controlled over everything that was judged (Benjamini and Hochberg 1995).
    """
    names = list(estimates)
    adjusted = stats.false_discovery_control([estimates[name].p for name in names]) if names else np.array([])
    return {
        name: _alone(estimates[name], float(p), policy.least_shift(name[1]), policy.false_discovery)
        for name, p in zip(names, adjusted, strict=True)
    }


def suspicions(estimates: Mapping[tuple[_Name, Quantity], Estimate], policy: Policy) -> list[tuple[_Name, Quantity]]:
    """What to measure again: whatever differs by half the least change or more, be it by chance.

    Two processes with the same code differ by where their memory lies, mostly by one percent and at times by ten. So one
    pair of them neither shows a change nor, unless it sees next to none, that there is none.
    """
    return [key for key, one in estimates.items() if abs(one.point) >= policy.least_shift(key[1]) / 2]


def undecided(
    first: Mapping[tuple[_Name, Quantity], Estimate],
    fresh: Mapping[tuple[_Name, Quantity], Sequence[Estimate]],
    policy: Policy,
) -> list[tuple[_Name, Quantity]]:
    """What another fresh pair of processes should look at.

    Most suspicions are chance, and two pairs that see next to nothing are enough to say so. Looking on after the least
    number of pairs adds false alarms where pairs scatter: of a kernel whose pairs differ by 7 %, and that is always looked at
    again, two in a hundred are called changed, by a simulation of the rule.

    Args:
        first, fresh: as for `settled`.
    """
    verdicts = settled(first, fresh, policy)
    return [key for key, seen in fresh.items() if _is_open(seen, verdicts[key].ruling, policy.least_shift(key[1]), policy)]


def _is_open(seen: Sequence[Estimate], ruling: Ruling, least: float, policy: Policy) -> bool:
    if len(seen) < policy.confirmations:
        return len(seen) < 2 or any(abs(one.point) >= least / 2 for one in seen)
    return ruling == "inconclusive" and len(seen) < policy.most_confirmations


def looked_again(
    first: Mapping[tuple[_Name, Quantity], Estimate],
    policy: Policy,
    end: float,
    look: Callable[[Sequence[tuple[_Name, Quantity]], float], Mapping[tuple[_Name, Quantity], Estimate]],
) -> dict[tuple[_Name, Quantity], list[Estimate]]:
    """Fresh estimates of what is suspected, for `settled`.

    The least number of pairs is taken even beyond the end; each may take its share of the time that is left.

    Args:
        first: estimates of the first look.
        end: time of `time.monotonic()`.
        look: takes what to look at and for how many seconds; what it gives nothing of is not asked for again.
    """
    fresh: dict[tuple[_Name, Quantity], list[Estimate]] = {key: [] for key in suspicions(first, policy)}
    lost: set[tuple[_Name, Quantity]] = set()
    least, most = policy.confirmations, policy.most_confirmations
    for number in range(most):
        is_late = number >= least and time.monotonic() >= end
        if is_late or not (wanted := [key for key in undecided(first, fresh, policy) if key not in lost]):
            break
        found = look(wanted, (end - time.monotonic()) / ((least if number < least else most) - number))
        lost |= set(wanted) - set(found)
        for key, one in found.items():
            fresh[key].append(one)
    return fresh


def settled(
    first: Mapping[tuple[_Name, Quantity], Estimate],
    fresh: Mapping[tuple[_Name, Quantity], Sequence[Estimate]],
    policy: Policy,
    again: str = "in fresh pairs of processes",
) -> dict[tuple[_Name, Quantity], Verdict]:
    """Verdicts on everything; the fresh pairs of processes alone have a say where there are any.

    A change is one where the median of the fresh pairs is at least the least change, three in four of them show at least
    half of it in that direction, and it is sure: by how far the pairs lie apart, for they are what varies (Kalibera and
    Jones 2013, "Rigorous benchmarking in reasonable time"), and with the false-discovery rate controlled over everything
    that was judged (Benjamini and Hochberg 1995).

    Args:
        first: estimates of the first look.
        fresh: one estimate per pair of processes, of what was suspected.
        again: how it was measured again, in words.
    """
    full = {
        key: taken
        for key, taken in fresh.items()
        if len(taken) >= policy.confirmations or not _is_open(taken, "inconclusive", policy.least_shift(key[1]), policy)
    }
    p = np.array([_claimed_p(full[key], policy.least_shift(key[1])) if key in full else 1.0 for key in first])
    adjusted = dict(zip(first, stats.false_discovery_control(p), strict=True)) if first else {}
    verdicts = {}
    for key, seen in first.items():
        least = policy.least_shift(key[1])
        if key in full:
            verdicts[key] = _settled(seen, full[key], float(adjusted[key]), least, policy, again)
        elif key in fresh:
            missing = f"only {len(fresh[key])} of {policy.confirmations} times could it be measured {again}"
            verdicts[key] = Verdict("inconclusive", f"{change(seen.point)} at first; {missing}", seen)
        else:
            verdicts[key] = _alone(seen, 1.0, least, policy.false_discovery)
    return verdicts


def _alone(found: Estimate, p: float, least: float, false_discovery: float) -> Verdict:
    counts = f"{found.count} interleaved comparisons"
    if abs(found.point) >= least and p <= false_discovery:
        return Verdict(_direction(found.point), f"{change(found.point)} in {counts}, adjusted p {p:.2g}", found)
    if -least < found.low and found.high < least:
        return Verdict("same", f"within {_less(least)} either way in {counts}", found)
    between = f"between {change(found.low)} and {change(found.high)} after {counts}"
    return Verdict("inconclusive", f"{between}: neither within {_less(least)} nor a sure change", found)


def _settled(first: Estimate, fresh: Sequence[Estimate], p: float, least: float, policy: Policy, again: str) -> Verdict:
    pooled = _pooled(fresh)
    sign = math.copysign(1.0, pooled.point)
    points = [one.point for one in fresh]
    showing = sum(sign * one >= least / 2 for one in points)
    seen = f"{change(first.point)} at first, {', '.join(map(change, points))} {again}"
    enough = _enough(len(fresh))
    if sign * pooled.point >= least and showing >= enough and p <= policy.false_discovery:
        return Verdict(_direction(pooled.point), f"{seen}, adjusted p {p:.2g}", pooled)
    # Pairs with too few quads for an interval of their own cannot say that nothing changed.
    is_known = all(math.isfinite(one.high - one.low) for one in fresh)
    if is_known and sum(abs(one) < least for one in points) >= enough and abs(pooled.point) < least:
        return Verdict("same", f"{seen}: within {_less(least)} either way", pooled)
    return Verdict("inconclusive", f"{seen}: neither within {_less(least)} nor a sure change", pooled)


def _claimed_p(fresh: Sequence[Estimate], least: float) -> float:
    """That of the pairs, where they speak of a change that matters: the others are no discoveries, however sure."""
    pooled = _pooled(fresh)
    return pooled.p if abs(pooled.point) >= least else 1.0


def _enough(pairs: int) -> int:
    """How many of the pairs must show a change: three in four, so that one may lie badly in memory."""
    return math.ceil(3 * pairs / 4)


def _pooled(fresh: Sequence[Estimate]) -> Estimate:
    """What the pairs say together: the median of their shifts, and Student's interval and test of how far they lie apart.

    From six pairs on these leave out one pair on each side, so that one that lies badly in memory neither makes a change nor
    hides one (Yuen 1974, "The two-sample trimmed t for unequal population variances", of one sample here).
    """
    count = len(fresh)
    if count < 2:
        return fresh[0]
    points = np.sort([one.point for one in fresh])
    cut = 1 if count >= 6 else 0
    mean, freedom = points[cut : count - cut].mean(), count - 2 * cut - 1
    error = np.clip(points, points[cut], points[count - cut - 1]).std(ddof=1) / ((1 - 2 * cut / count) * math.sqrt(count))
    half = error * stats.t.ppf((1 + CONFIDENCE) / 2, freedom)
    p = float(2 * stats.t.sf(abs(mean) / error, freedom)) if error else float(not mean)
    return Estimate(float(mean - half), float(np.median(points)), float(mean + half), p, sum(one.count for one in fresh))


def _direction(point: float) -> Ruling:
    return "slower" if point > 0 else "faster"


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
