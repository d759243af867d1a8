"""The table and the CSV of a validation."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from ..validation.published import CROSS_VALIDATED, Score, Verdict
from .output import as_csv, write_text
from .table import Column, Table

ROWS = "rows"
"""The key that names the file of rows."""
ROWS_SUFFIXES = (".csv",)

_FIGURES = (Column("rows"), Column("median error", "%"), Column("90th percentile", "%", rank=1), Column("inside 80 %", "%"))
_FIELDS: tuple[str, ...] = (
    "line",
    "id",
    "hardware",
    "model",
    "engine",
    "tok_s",
    "predicted",
    "low",
    "high",
    "error",
    "inside",
    "basis",
    "reason",
)


def table(verdicts: Sequence[Verdict], title: str) -> Table:
    """Per hardware label and in total: rows, errors, share inside the interval, and what was refused or left out."""
    columns = [
        Column("hardware", text=True),
        *_FIGURES,
        Column("refused", rank=3),
        Column("left out", rank=2),
    ]
    labels = sorted({one.hardware for one in verdicts}, key=str.lower)
    body = [_line(label or "(no hardware)", [one for one in verdicts if one.hardware == label]) for label in labels]
    return Table(title, columns, [*body, _line("all", verdicts)], _notes(verdicts))


def left_out_table(level: str, each: Mapping[str, Sequence[Verdict]]) -> Table:
    """How far off a fit is that has seen nothing of a machine, a kind of machine or an engine, for each of them.

    Args:
        level: what was left out.
        each: which of them -> its rows, predicted without it.
    """
    columns = [Column(level, text=True), *_FIGURES]
    every = [verdict for verdicts in each.values() for verdict in verdicts]
    body = [[name, *_figures(verdicts)] for name, verdicts in [*each.items(), ("all", every)]]
    return Table(f"Each {level} predicted by a fit to the others", columns, body)


def write_rows(verdicts: Sequence[Verdict], path: Path) -> None:
    """One CSV line per line of the file that was validated.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_text(as_csv((_fields(one) for one in verdicts), _FIELDS), path, ROWS)


def _line(label: str, verdicts: Sequence[Verdict]) -> list[str]:
    score = Score.of(verdicts)
    return [label, *_figures(verdicts), str(score.refused), str(score.left_out)]


def _figures(verdicts: Sequence[Verdict]) -> list[str]:
    score = Score.of(verdicts)
    figures = [score.median, score.tail, score.inside]
    return [str(score.rows), *([f"{100 * one:.1f}" for one in figures] if score.rows else ["-"] * len(figures))]


def _notes(verdicts: Sequence[Verdict]) -> list[str]:
    bases = Counter(one.basis for one in verdicts if one.is_predicted)
    how = [f"{count} {basis}" for basis, count in bases.most_common()]
    notes = [f"predictions: {', '.join(how)}"] if how else []
    if bases[CROSS_VALIDATED]:
        notes.append("cross-validated: five folds, all rows of one hardware and model held out together")
    for one in verdicts:
        if not one.is_predicted:
            # A line without a name goes by its number, with which the reason may begin already.
            notes.append(f"{one.id}: {one.reason.removeprefix(f'{one.id}: ')}")
    return notes


def _fields(one: Verdict) -> dict[str, object]:
    row = one.row
    known: dict[str, object] = {
        "line": one.line,
        "id": one.id,
        "hardware": one.hardware,
        "basis": one.basis,
        "reason": one.reason,
    }
    if row is not None:
        known |= {"model": row.model, "engine": row.engine, "tok_s": f"{row.tok_s:g}"}
    if one.is_predicted:
        figures = {"predicted": one.predicted, "low": one.low, "high": one.high, "error": one.error}
        known |= {name: f"{figure:.5g}" for name, figure in figures.items()} | {"inside": int(one.is_inside)}
    return known
