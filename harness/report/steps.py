"""The table and the CSV of whole steps that were measured here, beside the fits of their kernels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..validation.steps import StepVerdict, score
from ..words import figure, percent
from .output import as_csv, write_text
from .table import Column, Table
from .validation import ROWS

_FIELDS: tuple[str, ...] = (
    "record_id",
    "model",
    "layers",
    "context",
    "weight_format",
    "kv_format",
    "measured_us",
    "sum_us",
    "predicted_us",
    "low_us",
    "high_us",
    "error",
    "inside",
    "read_gbs",
    "disturbance",
)


def table(verdicts: Sequence[StepVerdict], *, leave_out: bool) -> Table:
    """Per step: measured, predicted with its interval, error; and what the predictions rest on."""
    columns = [
        Column("model", text=True),
        Column("layers", rank=3),
        Column("context"),
        Column("weights", text=True),
        Column("KV", text=True, rank=2),
        Column("measured", "us"),
        Column("sum of kernels", "us"),
        Column("predicted", "us"),
        Column("low", "us"),
        Column("high", "us"),
        Column("error", "%"),
        Column("disturbed", rank=1),
    ]
    rows = [
        [
            one.record.subject.model,
            str(one.step.model.layers),
            str(one.step.context),
            one.step.weight_format,
            one.step.kv_format,
            figure(float(one.measured_us.point)),
            figure(one.sum_us),
            figure(float(one.found.time_us.point)),
            *(figure(float(us)) for us in (one.found.time_us.low, one.found.time_us.high)),
            f"{100 * one.error:+.1f}",
            percent(one.record.statistics.disturbance) if one.is_disturbed and one.record.statistics else "",
        ]
        for one in verdicts
    ]
    return Table(
        "Whole steps measured here against the fits of this machine's kernels", columns, rows, _notes(verdicts, leave_out)
    )


def write_rows(verdicts: Sequence[StepVerdict], path: Path) -> None:
    """One CSV line per step.

    Raises:
        UsageError: if the file cannot be written.
    """
    write_text(as_csv((_fields(one) for one in verdicts), _FIELDS), path, ROWS)


def _notes(verdicts: Sequence[StepVerdict], leave_out: bool) -> list[str]:
    most, inside = score(verdicts)
    kernels = sorted({one.kernels for one in verdicts})
    whose = "of other models than the step's" if leave_out else "of any model"
    count = " to ".join(map(str, dict.fromkeys((kernels[0], kernels[-1]))))
    notes = [
        f"{len(verdicts)} steps: largest error {most:.1%}, {inside:.0%} inside their 80 % intervals",
        f"fitted on {count} measurements of kernels {whose}; the time of a step is in no fit, and each is predicted at the "
        "speed that the machine had beside its samples",
    ]
    unmeasured = dict.fromkeys(name for one in verdicts for name in one.found.unmeasured)
    if any(one.sum_us for one in verdicts):
        notes.append("sum of kernels: as measured in the step's own run; no fit is part of it")
    if unmeasured:
        notes.append(f"not measured here, so from what is typical: {', '.join(unmeasured)}")
    if any(one.is_disturbed for one in verdicts):
        notes.append("disturbed: the share of the machine that was gone meanwhile; such a row says little")
    return notes


def _fields(one: StepVerdict) -> dict[str, object]:
    time, statistics = one.found.time_us, one.record.statistics
    figures = {
        "measured_us": one.measured_us.point,
        "predicted_us": time.point,
        "low_us": time.low,
        "high_us": time.high,
        "error": one.error,
        "read_gbs": one.now.read_gbs,
        "disturbance": statistics.disturbance if statistics else 0.0,
    }
    return {
        "record_id": one.record.record_id,
        "model": one.record.subject.model,
        "layers": one.step.model.layers,
        "context": one.step.context,
        "weight_format": one.step.weight_format,
        "kv_format": one.step.kv_format,
        "inside": int(one.is_inside),
        "sum_us": "" if one.sum_us is None else f"{one.sum_us:.6g}",
        **{name: f"{value:.6g}" for name, value in figures.items()},
    }
