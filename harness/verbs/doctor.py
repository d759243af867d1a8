"""`roofcast doctor`: what on this machine will spoil a measurement, and what to do about it."""

from __future__ import annotations

from omegaconf import DictConfig

from ..doctor.examination import examine, worst
from ..doctor.finding import Finding
from ..report.progress import Progress
from ..report.table import Column, Table, show


def run(config: DictConfig) -> int:
    """Examines this machine, JAX included. Returns 1 if something prevents measuring, 0 otherwise."""
    with Progress() as progress:
        progress("examining this machine", 0.0)
        findings = list(examine(config.results, with_jax=True))
    show(_table(findings))
    return int(worst(findings) == "error")


def _table(findings: list[Finding]) -> Table:
    columns = [Column("check", text=True), Column("level", text=True), Column("found", text=True), Column("advice", text=True)]
    rows = [[one.name, one.level, one.what, one.advice] for one in findings]
    counts = {level: sum(one.level == level for one in findings) for level in ("error", "warning", "note")}
    verdict = ", ".join(f"{count} {level}{'s' if count > 1 else ''}" for level, count in counts.items() if count)
    return Table("What will spoil a measurement here", columns, rows, [verdict or "nothing found"])
