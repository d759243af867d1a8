"""Captures of one revision beside the machine's ceilings, and a head held against those that were saved."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .baseline import Baseline, shift
from .checkout import Revision
from .pair import Estimate, Side
from .process import Process
from .trial import Bench, Key, NotComparableError, Trial, is_sound
from .verdict import change

MOST_CAPTURES = 4
"""Until two in a row agree; a machine on which they do not would give a baseline that says nothing."""


class DisagreeError(Exception):
    """No two captures agree; the text says by how much, as a sentence."""


def beside_ceilings(
    head: Revision, name: str, cores: Collection[int]
) -> tuple[Mapping[Side, Revision], Callable[[Revision, Path], Process]]:
    """The machine's ceilings as the base of a revision, and what starts the workers of both.

    Args:
        head: whose kernels are measured.
        name: of the base, for people.
        cores: on which both run.
    """
    base = replace(head, name=name)

    def start(revision: Revision, folder: Path) -> Process:
        return Process(revision, folder, module="yardstick" if revision is base else "worker", cores=cores)

    return {"base": base, "head": head}, start


def agreeing(bench: Bench, budget_s: float) -> tuple[Trial, Trial]:
    """Two captures in a row, in fresh processes, between which no kernel's share of its ceiling differs by what would matter.

    Args:
        bench: of a revision beside the ceilings.
        budget_s: seconds for all captures; the least number of quads is taken even beyond it.

    Raises:
        NotComparableError: if a revision, or every kernel, cannot be measured.
        DisagreeError: if none of `MOST_CAPTURES` agrees with the one before it.
    """
    least = bench.policy.least_shift("latency")
    taken: list[Trial] = []
    moved: dict[str, float] = {}
    for number in range(MOST_CAPTURES):
        bench.progress(f"capture {number + 1} of {MOST_CAPTURES} at most")
        taken.append(bench.run(time.monotonic() + budget_s / MOST_CAPTURES))
        timed = [{name for name, _ in one.estimates if is_sound(one.prepared[name])} for one in taken[-2:]]
        if not timed[-1]:
            reasons = [one["reason"] for answers in taken[-1].prepared.values() for one in answers.values() if one["reason"]]
            raise NotComparableError(f"no kernel could be timed: {'; '.join(reasons)}")
        if len(taken) > 1:
            first, second = (one.quads for one in taken[-2:])
            both = sorted(timed[0] & timed[1])
            moved = {name: shift(first[name, "latency"], second[name, "latency"]).point for name in both}
            if timed[0] == timed[1] and all(abs(one) < least for one in moved.values()):
                return taken[-2], taken[-1]
    apart = [f"{name} by {change(one)}" for name, one in moved.items() if abs(one) >= least]
    raise DisagreeError(f"the last two captures differ: {', '.join(apart) or 'not the same kernels could be timed'}")


@dataclass(frozen=True)
class Recalled(Bench):
    """A head beside the ceilings, its shares of them held against a baseline's.

    Attributes:
        baseline: what stands for the base.
    """

    baseline: Baseline = field(kw_only=True)

    def run(self, deadline: float, only: Iterable[Key] | None = None) -> Trial:
        """Likewise, with the baseline as the base.

        Raises:
            NotComparableError: also if the head's worker has other software than the baseline's had.
        """
        taken = super().run(deadline, only)
        then, now = self.baseline.software, taken.hosts["head"]
        if differing := [f"{name} was {then.get(name)}, is {now[name]}" for name in now if then.get(name) != now[name]]:
            raise NotComparableError(f"{self.revisions['base'].name} ran with other software: {'; '.join(differing)}")
        prepared: dict[str, dict[Side, Mapping[str, Any]]] = {
            name: {"head": answers["head"]} for name, answers in taken.prepared.items() if "head" in answers
        }
        for name, answer in self.baseline.prepared.items():
            prepared.setdefault(name, {})["base"] = answer
        shifts = {
            key: self.baseline.shift(key[0], quads)
            for key, quads in taken.quads.items()
            if quads and key[0] in self.baseline.captures[0]
        }
        return _Recollection(prepared, hosts={"base": then, "head": now}, shifts=shifts)


@dataclass
class _Recollection(Trial):
    """A trial of which the base's samples are of another day, so that there are no quads of both."""

    shifts: Mapping[Key, Estimate] = field(default_factory=dict)

    @property
    def estimates(self) -> dict[Key, Estimate]:
        return dict(self.shifts)
