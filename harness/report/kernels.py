"""The table and the CSV of a validation of kernels."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np

from ..calibrate.kernels.calibration import HELD_OUT
from ..calibrate.kernels.rows import COUNTS, TEXTS
from ..validation.kernels import Verdicts, score
from .output import as_csv, write_text
from .table import Column, Table
from .validation import ROWS

_FIELDS: tuple[str, ...] = (
    "line",
    "id",
    *TEXTS,
    *COUNTS,
    "bytes",
    "latency_us",
    "predicted",
    "low",
    "high",
    "error",
    "inside",
    "basis",
    "reason",
)
_REASONS_SHOWN = 20


def table(verdicts: Verdicts, title: str) -> Table:
    """Per chip, op and format, and over all chips: rows, errors, share inside the interval; and what was refused."""
    columns = [
        Column("chip", text=True),
        Column("op", text=True),
        Column("format", text=True),
        Column("rows"),
        Column("median error", "%"),
        Column("90th percentile", "%", rank=1),
        Column("inside 80 %", "%"),
    ]
    rows = verdicts.measured.rows
    labels = np.stack([verdicts.measured.device, rows.op, rows.format], axis=1)
    kinds = sorted({tuple(one) for one in labels.tolist()}, key=lambda one: (one[1], one[2], one[0]))
    body: list[list[str]] = []
    for place, kind in enumerate(kinds):
        body.append([*kind, *_figures(verdicts, (labels == kind).all(1))])
        if place + 1 == len(kinds) or kinds[place + 1][1:] != kind[1:]:
            body.append(["all", *kind[1:], *_figures(verdicts, (labels[:, 1:] == kind[1:]).all(1))])
    return Table(title, columns, body, _notes(verdicts))


def write_rows(verdicts: Verdicts, path: Path) -> None:
    """One CSV line per line of the file that was validated, in its order.

    Raises:
        UsageError: if the file cannot be written.
    """
    lines = [*_predicted(verdicts), *_refused(verdicts)]
    write_text(as_csv(sorted(lines, key=lambda one: int(str(one["line"]))), _FIELDS), path, ROWS)


def _figures(verdicts: Verdicts, chosen: np.ndarray) -> list[str]:
    found = score(verdicts, chosen)
    return [str(found.rows), *(f"{100 * figure:.1f}" for figure in (found.median, found.tail, found.inside))]


def _notes(verdicts: Verdicts) -> list[str]:
    bases = Counter(verdicts.basis.tolist())
    notes = [f"predictions: {', '.join(f'{count} {basis}' for basis, count in bases.most_common())}"] if bases else []
    if bases[HELD_OUT]:
        notes.append(
            f"{HELD_OUT}: rows of the project's own evidence, by a fit to the other chips and this one's specification"
        )
    reasons = Counter(one.reason.removeprefix(f"line {one.line}: ") for one in verdicts.refused)
    first = {one.reason.removeprefix(f"line {one.line}: "): one.line for one in reversed(verdicts.refused)}
    for reason, count in list(reasons.items())[:_REASONS_SHOWN]:
        notes.append(f"refused: {count} {'row' if count == 1 else 'rows'} from line {first[reason]}: {reason}")
    if len(reasons) > _REASONS_SHOWN:
        notes.append(f"and {len(reasons) - _REASONS_SHOWN} more reasons; rows= names a CSV for all of them")
    return notes


def _predicted(verdicts: Verdicts) -> list[dict[str, object]]:
    rows, found = verdicts.measured.rows, verdicts.found
    columns: dict[str, list[object]] = {name: getattr(rows, name).tolist() for name in ("line", "id", *TEXTS)}
    columns |= {name: [f"{count:.0f}" if count else "" for count in getattr(rows, name).tolist()] for name in COUNTS}
    figures = {"bytes": rows.bytes, "latency_us": rows.latency_us}
    figures |= {"predicted": found.point, "low": found.low, "high": found.high, "error": verdicts.error}
    columns |= {name: [f"{figure:.6g}" for figure in column.tolist()] for name, column in figures.items()}
    columns |= {"inside": verdicts.is_inside.astype(int).tolist(), "basis": verdicts.basis.tolist()}
    return [dict(zip(columns, one, strict=True)) for one in zip(*columns.values(), strict=True)]


def _refused(verdicts: Verdicts) -> list[dict[str, object]]:
    return [{"line": one.line, "id": one.id, "chip": one.hardware, "reason": one.reason} for one in verdicts.refused]
