"""`roofcast history`: every kernel over the commits that it was measured at, where it changed, and what the gate said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig

from ..errors import UsageError
from ..history.series import QUANTITIES, Point, commit_ages, kernel, measured
from ..history.verdicts import Judged, said
from ..host.host import fingerprint
from ..report import history as report
from ..report.output import checked
from ..report.table import show
from ..shown import warn
from ..store.store import Store


def run(config: DictConfig) -> int:
    """Shows the history. Returns 1 where something in the store could not be read."""
    if config.quantity not in QUANTITIES:
        raise UsageError(f"quantity must be one of {', '.join(QUANTITIES)}; got {config.quantity!r}")
    for name in ("least", "significance"):
        if not 0 < config[name] < 1:
            raise UsageError(f"{name} must be a number above 0 and below 1; got {config[name]}")
    output = checked(config.output, report.SUFFIXES)
    here = fingerprint().machine_key
    found = measured(Store(config.results), here)
    elsewhere = found.found[0]["elsewhere"] if found.found else 0
    ages = commit_ages(Path.cwd())
    series: dict[tuple[str, str, str], list[Point]] = {}
    for row in found.found:
        point = Point(row["git_commit"], row["git_dirty"], row["started_at"], row["latency_us"], row["share"])
        series.setdefault((row["label"], row["implementation"], row["residency"]), []).append(point)
    judged = said(config.results, here)
    kernels = [
        replace(kernel(name, points, ages, config.quantity, config.least, config.significance), judged=_of(name, judged.found))
        for name, points in sorted(series.items())
    ]
    show(report.table(kernels, config.quantity, elsewhere))
    if judged.found:
        show(report.gate_table(judged.found))
    if output is not None:
        report.write(kernels, config.quantity, output)
        if judged.found:
            report.write_verdicts(judged.found, output)
    complaints = [one for one in (found.complaint, judged.complaint) if one]
    for one in complaints:
        warn(one)
    return int(bool(complaints))


def _of(name: tuple[str, str, str], judged: Sequence[Judged]) -> list[Judged]:
    """What was said of a kernel's latency."""
    return [one for one in judged if (one.label, one.implementation, one.residency) == name and one.quantity == "latency"]
