"""`roofcast history`: every kernel over the commits that it was measured at, where it changed, and what the gate said."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from omegaconf import DictConfig

from .changes import Change, change_points
from .errors import UsageError
from .gate.kept import Judged, verdicts
from .host import fingerprint
from .report import history as report
from .report.output import checked
from .report.table import show
from .store import Report, Store


@dataclass(frozen=True)
class Point:
    """One measurement of a kernel.

    Attributes:
        commit: full hash, "" where it is not known.
        dirty: the code differed from that commit.
        started_at: ISO 8601 time in UTC.
        latency_us: median time of a call.
        share: of the ceiling beside it, which a machine that is slower today changes less than the time.
    """

    commit: str
    dirty: bool
    started_at: str
    latency_us: float
    share: float

    @property
    def name(self) -> str:
        """The commit as people read it."""
        return (self.commit[:9] or "no commit") + "+" * self.dirty


@dataclass(frozen=True)
class Kernel:
    """A kernel's measurements on one machine, in the order of the commits.

    Attributes:
        label, implementation, residency: what was measured.
        points: oldest commit first.
        changes: of the natural logarithm of the quantity that is looked at.
        judged: what the gate said of its latency, the oldest first.
    """

    label: str
    implementation: str
    residency: str
    points: Sequence[Point]
    changes: Sequence[Change]
    judged: Sequence[Judged] = ()


def run(config: DictConfig) -> int:
    """Shows the history. Returns 1 where something in the store could not be read."""
    if config.quantity not in report.QUANTITIES:
        raise UsageError(f"quantity must be one of {', '.join(report.QUANTITIES)}; got {config.quantity!r}")
    for name in ("least", "significance"):
        if not 0 < config[name] < 1:
            raise UsageError(f"{name} must be a number above 0 and below 1; got {config[name]}")
    output = checked(config.output, report.SUFFIXES)
    here = fingerprint().machine_key
    found = _measured(Store(config.results), here)
    elsewhere = found.found[0]["elsewhere"] if found.found else 0
    ages = commit_ages(Path.cwd())
    series: dict[tuple[str, str, str], list[Point]] = {}
    for row in found.found:
        point = Point(row["git_commit"], row["git_dirty"], row["started_at"], row["latency_us"], row["share"])
        series.setdefault((row["label"], row["implementation"], row["residency"]), []).append(point)
    said = _judged(config.results, here)
    kernels = [
        replace(kernel(name, points, ages, config.quantity, config.least, config.significance), judged=_of(name, said.found))
        for name, points in sorted(series.items())
    ]
    show(report.table(kernels, config.quantity, elsewhere))
    if said.found:
        show(report.gate_table(said.found))
    if output is not None:
        report.write(kernels, config.quantity, output)
        if said.found:
            report.write_verdicts(said.found, output)
    complaints = [one for one in (found.complaint, said.complaint) if one]
    for one in complaints:
        print(f"roofcast: {one}", file=sys.stderr)
    return int(bool(complaints))


def kernel(
    name: tuple[str, str, str],
    points: Sequence[Point],
    ages: Mapping[str, int],
    quantity: str,
    least: float,
    significance: float,
) -> Kernel:
    """A kernel's points in the order of the commits, and its changes of at least a share."""
    ordered = in_order(points, ages)
    logs = [math.log(report.QUANTITIES[quantity](point)) for point in ordered]
    return Kernel(*name, ordered, change_points(logs, least=math.log1p(least), significance=significance))


def in_order(points: Sequence[Point], ages: Mapping[str, int]) -> list[Point]:
    """By commit where the repository knows it, and by time within a commit; what it does not know comes as it was measured.

    Args:
        ages: commit -> its place, the oldest first.
    """
    by_time = sorted(points, key=lambda point: point.started_at)
    known = iter(sorted((point for point in by_time if point.commit in ages), key=lambda p: (ages[p.commit], p.dirty)))
    return [next(known) if point.commit in ages else point for point in by_time]


def commit_ages(folder: Path) -> dict[str, int]:
    """Place of every commit of the checkout that a folder is in, parents before children; empty outside one."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ("git", "-C", str(folder), "rev-list", "--all", "--topo-order", "--reverse")
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return {}
    return {commit: place for place, commit in enumerate(done.stdout.split())} if done.returncode == 0 else {}


def _judged(results: str, machine_key: str) -> Report[Judged]:
    """What the gate said here, the oldest first, by kernel where it said it at once."""
    place = verdicts(results)
    report = place.read("machine_key = ?", [machine_key]) if place.is_there else Report([])
    return replace(report, found=sorted(report.found, key=lambda one: (one.started_at, one.label, one.quantity)))


def _of(name: tuple[str, str, str], said: Sequence[Judged]) -> list[Judged]:
    """What is said of a kernel's latency."""
    return [one for one in said if (one.label, one.implementation, one.residency) == name and one.quantity == "latency"]


def _measured(store: Store, machine_key: str) -> Report[dict]:
    """Every time that was measured here, and beside it how many there are of other machines."""
    return store.query(
        "SELECT DISTINCT ON (record_id) label, implementation, "
        # Times by a device's own clock are another series than those by the host's.
        "coalesce(residency, '') || CASE WHEN timer <> 'perf_counter' THEN ', ' || timer ELSE '' END AS residency, "
        "git_commit, git_dirty, "
        "CAST(started_at AS VARCHAR) AS started_at, latency_us, fraction_of_ceiling AS share, "
        "(SELECT count(*) FROM records WHERE machine_key <> ? AND latency_us IS NOT NULL) AS elsewhere "
        "FROM records WHERE machine_key = ? AND status = 'ok' AND latency_us > 0 AND fraction_of_ceiling > 0",
        (machine_key, machine_key),
    )
