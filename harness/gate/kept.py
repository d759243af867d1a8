"""What a comparison says of every kernel, as records for the history."""

from __future__ import annotations

from collections.abc import Iterator

from ..history.verdicts import Judged
from ..host.host import Host
from ..store.record import Run, utc_now
from .judge import Comparison
from .pair import Estimate


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
