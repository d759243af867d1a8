"""The whole step, the sum of its kernels, and what is left between them, as a table."""

from __future__ import annotations

from ..predict.whole import Span, Whole
from ..steps.plan import Plan
from ..words import figure, percent
from .table import Column, Table

_COLUMNS = [
    Column("part", text=True),
    Column("time", "us"),
    Column("low", "us"),
    Column("high", "us"),
    Column("of the step", bar=True),
]

_REMAINDER = (
    "what only the whole has: its one dispatch, biases and reshapes between the calls, threads that wait at the end of each "
    "call, and what one call leaves in the caches for the next; negative where that saves more than it costs"
)


def whole_table(found: Whole, asked: Plan) -> Table:
    """Three lines, and in words how deep the copy was that was measured and what the remainder is."""
    model, where = asked.step.model, f"at context {asked.step.context}: {asked.step.formats.weight} weights"
    if model.family == "encoder":
        return Table(
            f"Forward pass of {model.name} {where}",
            _COLUMNS,
            [_row("forward pass", found.step, found.step)],
            _notes(found, model.layers),
        )
    parts = {"whole step": found.step, "sum of kernels": found.kernels, "remainder": found.remainder}
    rows = [_row(name, part, found.step) for name, part in parts.items()]
    return Table(f"Whole step of {model.name} {where}", _COLUMNS, rows, _notes(found, model.layers))


def _row(name: str, part: Span | None, step: Span | None) -> list[str]:
    if part is None:
        return [name, "-", "-", "-", "-"]
    share = percent(part.us / step.us) if step else "-"
    return [name, *map(_signed, (part.us, part.low_us, part.high_us)), share]


def _signed(value: float) -> str:
    return f"-{figure(-value)}" if value < 0 else figure(value)


def _notes(found: Whole, layers: int) -> list[str]:
    notes = [_depth_note(found, layers)]
    if found.missing:
        notes.append(f"no sum of kernels: not measured: {', '.join(found.missing)}.")
    elif not found.same_run:
        notes.append("the kernels were measured in other runs than the step: the machine may have had another speed.")
    if found.disturbed:
        notes.append("the machine was disturbed: its drift is part of the remainder.")
    if found.remainder is not None:
        notes.append(f"remainder: {_REMAINDER}.")
    return notes


def _depth_note(found: Whole, layers: int) -> str:
    if found.depths[-1] == layers:
        return f"whole step: all {layers} layers in one compiled program, checked against a float64 reference of all of them."
    named = " and ".join(map(str, found.depths))
    checked = "each copy checked against a float64 reference of it"
    if found.step is None:
        return f"whole step: only a copy of {named} of {layers} layers has a time, which cannot be scaled; {checked}."
    return f"whole step: {named} of {layers} layers, scaled: the model does not fit the memory that may be used; {checked}."
