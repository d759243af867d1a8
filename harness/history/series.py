"""Kernels over the commits that they were measured at, and where they changed."""

from __future__ import annotations

import math
import os
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ..store.store import Report, Store
from .changes import Change, change_points
from .verdicts import Judged


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


QUANTITIES: Mapping[str, Callable[[Point], float]] = {
    "latency_us": lambda point: point.latency_us,
    "share": lambda point: point.share,
}
"""What can be looked at: the time of a call, or its share of the ceiling."""


def measured(store: Store, machine_key: str) -> Report[dict]:
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
    logs = [math.log(QUANTITIES[quantity](point)) for point in ordered]
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
