"""A kernel's history on one line, and all of it as a CSV file that Apache Otava reads."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from ..history.series import QUANTITIES, Kernel
from ..words import figure
from .output import write_text
from .table import Column, Table

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 24
"""Points of a sparkline; where there are more, each stands for the median of several."""
SUFFIXES = (".csv",)


def table(kernels: Sequence[Kernel], quantity: str, elsewhere: int) -> Table:
    """One row per kernel; the last change of each by its commit."""
    columns = [Column("kernel", text=True), Column("implementation", text=True), Column("residency", text=True, rank=2)]
    columns += [Column("runs", rank=1), Column("commits", rank=3), Column("", text=True), Column("latest", _unit(quantity))]
    columns += [Column("changes"), Column("last change", text=True)]
    rows = [_row(kernel, quantity) for kernel in kernels]
    notes = ["A change lies between two runs: the commit named is the first one after it, + has changes that are not committed"]
    notes += [f"{elsewhere} measurements of other machines are left out"] * bool(elsewhere)
    return Table(f"History of {quantity} on this machine", columns, rows, notes if rows else ["nothing was measured here yet"])


def sparkline(values: Sequence[float]) -> str:
    """Values as blocks, on a logarithmic scale from the least to the largest."""
    width = min(_WIDTH, len(values))
    cuts = [round(place * len(values) / width) for place in range(width + 1)] if width else []
    logs = [math.log(_median(values[start:stop])) for start, stop in pairwise(cuts)]
    low, span = min(logs, default=0.0), (max(logs, default=0.0) - min(logs, default=0.0)) or 1.0
    return "".join(_BLOCKS[min(7, int(8 * (one - low) / span))] for one in logs)


def write(kernels: Sequence[Kernel], quantity: str, path: Path) -> None:
    """Writes a row per run to `FILE.csv`, and `FILE.yaml`, with which `otava analyze` reads it, a test per kernel.

    Raises:
        UsageError: if a file cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow(["time", "commit", "test", quantity])
    tests = {}
    for kernel in kernels:
        single = path.with_name(f"{path.stem}-{_plain(kernel)}.csv")
        mine = [[point.started_at, point.name, QUANTITIES[quantity](point)] for point in kernel.points]
        rows.writerows([time, commit, _plain(kernel), value] for time, commit, value in mine)
        tests[_plain(kernel)] = {
            "type": "csv",
            "file": str(single.resolve()),
            "time_column": "time",
            "attributes": ["commit"],
            "metrics": {quantity: {"direction": -1 if quantity == "latency_us" else 1}},
        }
        write_text("".join(f"{','.join(map(str, row))}\n" for row in [["time", "commit", quantity], *mine]), single)
    write_text(text.getvalue(), path)
    write_text(yaml.safe_dump({"tests": tests}, sort_keys=False), path.with_suffix(".yaml"))


def _row(kernel: Kernel, quantity: str) -> list[str]:
    values = [QUANTITIES[quantity](point) for point in kernel.points]
    last = ""
    if kernel.changes:
        change = kernel.changes[-1]
        by = math.expm1(change.after - change.before)
        last = f"{by:+.1%} at {kernel.points[change.place].name}, p {change.p:.2g}"
    commits = len({point.name for point in kernel.points})
    latest = figure(values[-1])
    names = [kernel.label, kernel.implementation, kernel.residency]
    return [*names, str(len(values)), str(commits), sparkline(values), latest, str(len(kernel.changes)), last]


def _plain(kernel: Kernel) -> str:
    """A kernel's name of letters, digits and dashes, for files and tests."""
    parts = " ".join((kernel.label, kernel.implementation, kernel.residency))
    return "-".join("".join(one if one.isalnum() or one == "." else " " for one in parts).split())


def _unit(quantity: str) -> str:
    return "us" if quantity == "latency_us" else "of ceiling"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
