"""The whole step beside the sum of its kernels: how deep a copy is measured, and what only the whole has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..kernels.model import Step
from ..kernels.step import DecodeStep
from .calibrate.evidence import best
from .figures import Statistics
from .plan import Plan
from .record import Measurement


@dataclass(frozen=True)
class Whole:
    """One token, as one program and as a sum.

    Attributes:
        low_us, step_us, high_us: the whole step, scaled to all layers where `depths` are fewer; None where only one
            copy of fewer layers was measured.
        kernels_us: the sum of the kernels, each as often as a token needs it; None where some were not measured.
        missing: the ops that were not.
        depths: layers of the copies that were measured.
        same_run: the kernels were measured in the run that measured the step.
        disturbed: some of the times rest on samples of a machine that was not all ours.
    """

    low_us: float | None
    step_us: float | None
    high_us: float | None
    kernels_us: float | None
    missing: tuple[str, ...]
    depths: tuple[int, ...]
    same_run: bool
    disturbed: bool

    @property
    def remainder_us(self) -> float | None:
        """What the step takes beyond its kernels; negative where it takes less."""
        return None if self.step_us is None or self.kernels_us is None else self.step_us - self.kernels_us


def depths(step: Step, room_bytes: float) -> tuple[int, ...]:
    """How many layers are measured: all of them, or two smaller copies of the model, of which one is about half the other.

    The difference between two depths is the time of the layers between them, so what stands outside the layers is not
    scaled with them. Depths are whole periods of the pattern of windowed layers. Room is for the arrays twice, as they
    are drawn and as the device has them, and for those of the smaller copy.
    """
    model = step.model
    period = model.window.local + model.window.full if model.window else 1
    if model.layers <= 2 * period or 2 * _bytes(step, model.layers) <= room_bytes:
        return (model.layers,)
    one, two = _bytes(step, period), _bytes(step, 2 * period)

    def taken(periods: int) -> float:
        return 3 * one + (two - one) * (periods // 2 - 1 + 2 * (periods - 1))

    most = (model.layers - 1) // period
    deepest = max((periods for periods in range(2, most + 1) if taken(periods) <= room_bytes), default=2)
    return deepest // 2 * period, deepest * period


def whole(records: Sequence[Measurement], asked: Plan) -> Whole | None:
    """The step's newest run among some records, beside the kernels'; None where no step has a time."""
    timed = [one for one in records if one.subject.op == DecodeStep.op and one.statistics is not None]
    if not timed:
        return None
    run = max(timed, key=lambda one: one.started_at).run.run_id
    steps = best(one for one in timed if one.run.run_id == run)
    by_depth = {workload.model.layers: steps[workload] for workload in steps if isinstance(workload, DecodeStep)}
    kernels = best(one for one in records if one.subject.op != DecodeStep.op)
    called = [need for need in asked.needs if need.count]
    missing = tuple(sorted({need.workload.op for need in called if need.workload not in kernels}))
    used = [kernels[need.workload] for need in called if need.workload in kernels]
    low, point, high = _scaled(by_depth, asked.step.model.layers)
    return Whole(
        low,
        point,
        high,
        None if missing else sum(need.count * _statistics(kernels[need.workload]).latency_us for need in called),
        missing,
        tuple(sorted(by_depth)),
        all(one.run.run_id == run for one in used),
        any(_statistics(one).disturbance > 0 for one in (*used, *by_depth.values())),
    )


def _statistics(record: Measurement) -> Statistics:
    if record.statistics is None:
        raise ValueError(f"{record.subject.label} has no time: its status is {record.outcome.status}")
    return record.statistics


def _scaled(by_depth: Mapping[int, Measurement], layers: int) -> tuple[float, float, float] | tuple[None, None, None]:
    """Low, median and high of the step with all layers, along the line through the two deepest copies."""
    found = {depth: _statistics(one) for depth, one in by_depth.items()}
    if layers in found:
        return found[layers].latency_low_us, found[layers].latency_us, found[layers].latency_high_us
    if len(found) < 2:
        return None, None, None
    few, many = sorted(found)[-2:]
    beyond = (layers - many) / (many - few)
    a, b = found[few], found[many]

    def along(shallow_us: float, deep_us: float) -> float:
        return deep_us + beyond * (deep_us - shallow_us)

    return (
        max(b.latency_low_us, along(a.latency_high_us, b.latency_low_us)),
        along(a.latency_us, b.latency_us),
        along(a.latency_low_us, b.latency_high_us),
    )


def _bytes(step: Step, layers: int) -> float:
    return sum(tensor.nbytes for tensor in DecodeStep.of(step, layers).composition.arrays().values())
