"""The step on this machine and on others, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.op import Workload
from ..calibrate.evidence import best
from ..calibrate.own.reached import evidence
from ..predict.answer import Answer, Ask, answers, true_bits
from ..predict.carry import Prediction, carried, measured_here
from ..steps.plan import Plan
from ..store.figures import Bound
from ..store.record import Measurement
from ..words import figure
from .table import Column, Table

_COLUMNS = [
    Column("machine", text=True),
    Column("needs", "GB", rank=4),
    Column("has", "GB", rank=5),
    Column("low", "tok/s"),
    Column("point", "tok/s"),
    Column("high", "tok/s"),
    Column("TPOT", "ms", rank=3),
    Column("bound", text=True, rank=2),
    Column("basis", text=True, rank=1),
    Column("predict says", "tok/s"),
]

_WHY = (
    "predict says: what roofcast predict answers, from published speeds of engines on such machines. It knows what engines "
    "lose between kernels and nothing of ours; the row carries our kernels, and knows of the machine its specification only."
)


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
    lines, said = predictions(records, asked), ["", *_predicted(asked)]
    title = f"Decode of {step.model.name} at batch 1, context {step.context}, {step.formats.weight} weights"
    notes = [
        "this machine: sum of the measured kernels. Others: t0 + bytes / (efficiency x bandwidth), efficiencies measured here.",
        "low and high span this rule, envelope scaling, the sampling intervals, and peak against measured bandwidth.",
        *([_WHY] if asked.targets else []),
        *([f"{asked.caveat}."] if asked.caveat else []),
        *dict.fromkeys(f"{line.target}: {note}." for line in lines for note in line.notes),
    ]
    return Table(title, _COLUMNS, [_row(line, cell) for line, cell in zip(lines, said, strict=True)], notes)


def _predicted(asked: Plan) -> list[str]:
    """What `roofcast predict` says of each target: point, interval and basis."""
    step, formats = asked.step, asked.step.formats
    asks = [
        Ask(
            step.model,
            device,
            formats.weight,
            weight_bits=true_bits(formats.weight),
            kv_bits=true_bits(formats.kv, (1, step.model.head_dim)),
            context=step.context,
            devices=count,
        )
        for device, count in asked.targets
    ]
    return ["-" if one.refusal else _said(one) for one in answers(asks)]


def _said(answer: Answer) -> str:
    speed = answer.tokens_per_s
    low, point, high = (figure(float(end)) for end in (speed.low, speed.point, speed.high))
    return f"{point} ({low} to {high}), {answer.basis}"


def _row(line: Prediction, predicted: str) -> list[str]:
    head = [line.target, figure(line.needed_gb), figure(line.capacity_gb)]
    if line.refusal:
        return [*head, "-", "-", "-", "-", "-", line.refusal, predicted]
    rates = [figure(rate) for rate in line.tokens_per_s]
    return [*head, *rates, figure(line.tpot_us / 1e3), line.bound, line.basis, predicted]
