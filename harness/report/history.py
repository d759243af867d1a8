"""A kernel's history on one line, a run of the gate on one, and all of it as CSV files, of which Apache Otava reads those of
the kernels.
"""

from __future__ import annotations

import csv
import io
import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from ..files.spreadsheet import cell
from ..history.series import QUANTITIES, Kernel
from ..history.verdicts import CHANGES, Judged, percent
from ..words import figure
from .output import write_text
from .table import Column, Table

_BLOCKS = "▁▂▃▄▅▆▇█"
_WIDTH = 24
"""Points of a sparkline; where there are more, each stands for the median of several."""
SUFFIXES = (".csv",)
_UNCHANGED = ("same", "inconclusive")
_COUNTED = (*CHANGES, *_UNCHANGED)
_GATE_RUNS = 20
"""Runs of the gate that are shown, the latest ones."""
_VERDICT = ("started_at", "base_commit", "head_commit", "label", "implementation", "residency", "quantity", "ruling")
_NUMBERS = ("low", "point", "high", "p", "comparisons")


def table(kernels: Sequence[Kernel], quantity: str, elsewhere: int) -> Table:
    """One row per kernel; the last change of each by its commit."""
    columns = [Column("kernel", text=True), Column("implementation", text=True), Column("residency", text=True, rank=3)]
    columns += [Column("runs", rank=2), Column("commits", rank=4), Column("", text=True), Column("latest", _unit(quantity))]
    columns += [Column("changes", rank=1), Column("last change", text=True), Column("gate", text=True, rank=1)]
    rows = [_row(kernel, quantity) for kernel in kernels]
    notes = ["A change lies between two runs: the commit named is the first one after it, + has changes that are not committed"]
    notes += [f"{elsewhere} measurements of other machines are left out"] * bool(elsewhere)
    return Table(f"History of {quantity} on this machine", columns, rows, notes if rows else ["nothing was measured here yet"])


def gate_table(said: Sequence[Judged]) -> Table:
    """One row per run of the gate, the oldest first, of the last ones."""
    columns = [Column("date", text=True), Column("head", text=True), Column("base", text=True)]
    columns += [Column(name, rank=2) for name in _COUNTED] + [Column("changed", text=True)]
    runs: dict[str, list[Judged]] = {}
    for one in said:
        runs.setdefault(one.run.run_id, []).append(one)
    rows = [_gate_row(one) for one in list(runs.values())[-_GATE_RUNS:]]
    notes = ["head against base, both measured in one run, with 95 % intervals"]
    notes += [f"the last {_GATE_RUNS} of {len(runs)} runs"] * (len(runs) > _GATE_RUNS)
    return Table("Verdicts of roofcast gate on this machine", columns, rows, notes)


def write_verdicts(said: Sequence[Judged], path: Path) -> None:
    """Writes a row per verdict to `FILE-gate.csv`; the numbers are natural logarithms of the head's time over the base's.

    Raises:
        UsageError: if the file cannot be written.
    """
    text = io.StringIO()
    rows = csv.writer(text, lineterminator="\n")
    rows.writerow((*_VERDICT, *_NUMBERS))
    rows.writerows([cell(getattr(one, name)) for name in (*_VERDICT, *_NUMBERS)] for one in said)
    write_text(text.getvalue(), path.with_name(f"{path.stem}-gate.csv"))


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
        last = f"{percent(change.after - change.before)} at {kernel.points[change.place].name}, p {change.p:.2g}"
    commits = len({point.name for point in kernel.points})
    latest = figure(values[-1])
    names = [kernel.label, kernel.implementation, kernel.residency]
    return [
        *names,
        str(len(values)),
        str(commits),
        sparkline(values),
        latest,
        str(len(kernel.changes)),
        last,
        _last_said(kernel.judged),
    ]


def _gate_row(run: Sequence[Judged]) -> list[str]:
    first = run[0]
    counts = Counter(one.ruling for one in run)
    changed = ", ".join(filter(None, map(_changed, run)))
    base = first.base_commit[:9] or first.base
    return [
        first.started_at[:16].replace("T", " "),
        first.head_commit[:9],
        base,
        *(str(counts[name]) for name in _COUNTED),
        changed or "nothing",
    ]


def _changed(one: Judged) -> str:
    """A change in words; empty for what is none."""
    if one.ruling in _UNCHANGED:
        return ""
    if one.point is None or one.low is None or one.high is None:
        return f"{one.label} {one.ruling}"
    what = f"compile time of {one.label}" if one.quantity == "compile time" else one.label
    ends = f" ({percent(one.low)} to {percent(one.high)})" if math.isfinite(one.high - one.low) else ""
    return f"{what} {percent(one.point)}{ends}"


def _last_said(judged: Sequence[Judged]) -> str:
    """The last change that the gate saw, or if there is none, its last word."""
    for one in reversed([one for one in judged if one.ruling in CHANGES] or judged):
        return f"{one.words} at {one.head_commit[:9]}"
    return ""


def _plain(kernel: Kernel) -> str:
    """A kernel's name of letters, digits and dashes, for files and tests."""
    parts = " ".join((kernel.label, kernel.implementation, kernel.residency))
    return "-".join("".join(one if one.isalnum() or one == "." else " " for one in parts).split())


def _unit(quantity: str) -> str:
    return "us" if quantity == "latency_us" else "of ceiling"


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
