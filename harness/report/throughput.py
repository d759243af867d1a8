"""The step on this machine and on others, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.op import Workload
from ..calibrate.evidence import best, evidence
from ..carry import Bound, Prediction, carried, measured_here
from ..plan import Plan
from ..record import Measurement
from .table import Column, Table
from .words import figure

_COLUMNS = [
    Column("machine", text=True),
    Column("needs", "GB"),
    Column("has", "GB"),
    Column("low", "tok/s"),
    Column("point", "tok/s"),
    Column("high", "tok/s"),
    Column("TPOT", "ms"),
    Column("bound", text=True),
    Column("basis", text=True),
]


def predictions(records: Sequence[Measurement], asked: Plan) -> list[Prediction]:
    """The step on this machine, then on every target of the plan."""
    measured = best(records)
    known = evidence(measured)
    bounds: dict[Workload, Bound] = {
        workload: record.statistics.bound for workload, record in measured.items() if record.statistics
    }
    host = records[0].host
    capacity_gb = (host.memory_limit_bytes or host.memory_bytes) / 1e9
    return [
        measured_here(asked.needs, known, bounds, capacity_gb),
        *(carried(asked.needs, known, machine, count, asked.step.model) for machine, count in asked.targets),
    ]


def throughput_table(records: Sequence[Measurement], asked: Plan) -> Table:
    """Decode throughput at batch 1 on every machine of the plan, or why there is none."""
    step = asked.step
    answers = predictions(records, asked)
    title = f"Decode of {step.model.name} at batch 1, context {step.context}, {step.formats.weight} weights"
    notes = [
        "this machine: sum of the measured kernels. Others: t0 + bytes / (efficiency x bandwidth), efficiencies measured here.",
        "low and high span this rule, envelope scaling, the sampling intervals, and peak against measured bandwidth.",
        *([f"{asked.caveat}."] if asked.caveat else []),
        *dict.fromkeys(f"{answer.target}: {note}." for answer in answers for note in answer.notes),
    ]
    return Table(title, _COLUMNS, [_row(answer) for answer in answers], notes)


def _row(answer: Prediction) -> list[str]:
    head = [answer.target, figure(answer.needed_gb), figure(answer.capacity_gb)]
    if answer.refusal:
        return [*head, "-", "-", "-", "-", "-", answer.refusal]
    rates = [figure(rate) for rate in answer.tokens_per_s]
    return [*head, *rates, figure(answer.tpot_us / 1e3), answer.bound, answer.basis]
