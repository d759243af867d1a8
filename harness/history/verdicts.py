"""What the gate said of kernels, kept in the store beside the measurements."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from ..host.host import Host
from ..store.record import Stored
from ..store.store import Records, Report

CHANGES = ("slower", "faster")
"""Rulings that say that something has changed."""
FOLDER = "verdicts"
"""Below the folder of the measurements."""


@dataclass(frozen=True, kw_only=True)
class Judged(Stored):
    """The verdict on one quantity of one kernel, or the remark on a kernel that had no times to compare.

    Attributes:
        base, head: names of the revisions, as people know them.
        base_commit, head_commit: full hashes; the base's is "" where that was a baseline.
        label, implementation, residency: what was judged; the implementation is the head's, "" where it has none.
        quantity: `latency`, `compile time`, or "" of a remark.
        ruling: `slower`, `faster`, `same` or `inconclusive`, or the remark's condition.
        reason: in words.
        low, point, high: natural logarithm of the head's time over the base's, with its 95 % interval; None of a remark.
        p: of no change.
        comparisons: that it rests on.
        host: where, as the gate's own process sees it.
    """

    base: str
    head: str
    base_commit: str
    head_commit: str
    label: str
    implementation: str
    residency: str
    quantity: str
    ruling: str
    reason: str
    low: float | None = None
    point: float | None = None
    high: float | None = None
    p: float | None = None
    comparisons: int = 0
    host: Host

    @property
    def words(self) -> str:
        """The ruling, and of a change its size."""
        if self.point is None or self.ruling not in CHANGES:
            return self.ruling
        return f"{self.ruling} {percent(self.point)}"


def percent(shift: float) -> str:
    """The natural logarithm of a ratio as a change in percent."""
    return f"{math.expm1(shift):+.1%}"


def verdicts(results: str) -> Records[Judged]:
    """Where verdicts lie."""
    return Records(f"{results}/{FOLDER}", Judged)


def said(results: str, machine_key: str) -> Report[Judged]:
    """What the gate said on a machine, the oldest first, by kernel where it said it at once."""
    place = verdicts(results)
    report = place.read("machine_key = ?", [machine_key]) if place.is_there else Report([])
    return replace(report, found=sorted(report.found, key=lambda one: (one.started_at, one.label, one.quantity)))
