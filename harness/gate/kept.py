"""What the gate said of every kernel, kept in the store for `roofcast history`."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..host import Host
from ..record import Run, Stored, utc_now
from ..store import Records

if TYPE_CHECKING:
    # What only writes verdicts imports SciPy.
    from .judge import Comparison
    from .pair import Estimate

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


def judged(found: Comparison, commits: tuple[str, str], residency: str, run: Run, host: Host) -> Iterator[Judged]:
    """A record of each verdict and remark.

    Args:
        found: what a comparison said.
        commits: of base and head.
        residency: of the operands.
        run: this one.
        host: this one.
    """
    now = utc_now()

    def one(kernel: str, quantity: str, ruling: str, reason: str, estimate: Estimate | None = None) -> Judged:
        code = found.code.get(kernel, "")
        return Judged(
            started_at=now,
            run=run,
            base=found.base,
            head=found.head,
            base_commit=commits[0],
            head_commit=commits[1],
            label=kernel.removesuffix(f" by {code}"),
            implementation=code,
            residency=residency,
            quantity=quantity,
            ruling=ruling,
            reason=reason,
            **({name: getattr(estimate, name) for name in ("low", "point", "high", "p")} if estimate else {}),
            comparisons=estimate.count if estimate else 0,
            host=host,
        )

    for (kernel, quantity), verdict in found.verdicts.items():
        yield one(kernel, quantity, verdict.ruling, verdict.reason, verdict.estimate)
    for remark in found.remarks:
        yield one(remark.kernel, "", remark.condition, remark.reason)
