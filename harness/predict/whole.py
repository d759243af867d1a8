"""The whole step beside the sum of its kernels: how deep a copy is measured, and what only the whole has."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ...kernels.encoder import EncoderPass
from ...kernels.model import Model
from ...kernels.step import DecodeStep
from ..calibrate.evidence import best
from ..steps.plan import Plan
from ..store.figures import Statistics
from ..store.record import Measurement

_PROGRAMS = (DecodeStep, EncoderPass)


@dataclass(frozen=True)
class Span:
    """A time with its interval."""

    low_us: float
    us: float
    high_us: float

    def without(self, other: Span) -> Span:
        """What is left, at the least and at the most."""
        return Span(self.low_us - other.high_us, self.us - other.us, self.high_us - other.low_us)


@dataclass(frozen=True)
class Whole:
    """One token, as one program and as a sum.

    Attributes:
        step: the whole step, scaled to all layers where `depths` are fewer; None where only one copy of fewer layers was
            measured.
        kernels: the sum of the kernels, each as often as a token needs it; None where some were not measured, and for an
            encoder, whose forward pass is not made of calls for one token.
        missing: the ops that were not.
        depths: layers of the copies that were measured.
        same_run: the kernels were measured in the run that measured the step.
        disturbed: some of the times rest on samples of a machine that was not all ours.
    """

    step: Span | None
    kernels: Span | None
    missing: tuple[str, ...]
    depths: tuple[int, ...]
    same_run: bool
    disturbed: bool

    @property
    def remainder(self) -> Span | None:
        """What the step takes beyond its kernels; negative where it takes less."""
        return None if self.step is None or self.kernels is None else self.step.without(self.kernels)


def depths(asked: Plan, room_bytes: float) -> tuple[int, ...]:
    """How many layers are measured: all of them, or two smaller copies of the model, of which one is about half the other.

    The difference between two depths is the time of the layers between them, so what stands outside the layers is not
    scaled with them, nor are the dense layers at the bottom of a mixture. Above those, depths are whole periods of the
    patterns of windowed layers and of mixtures. Room is for the arrays of both copies.

    Raises:
        UsageError: if the model has a part that no step is composed of.
    """
    model = asked.step.model
    bottom, period = _pattern(model)
    if model.layers <= bottom + 2 * period or _bytes(asked, model.layers) <= room_bytes:
        return (model.layers,)
    one, two = _bytes(asked, bottom + period), _bytes(asked, bottom + 2 * period)

    def taken(periods: int) -> float:
        return 2 * one + (two - one) * (periods // 2 - 1 + periods - 1)

    most = (model.layers - 1 - bottom) // period
    deepest = max((periods for periods in range(2, most + 1) if taken(periods) <= room_bytes), default=2)
    return bottom + deepest // 2 * period, bottom + deepest * period


def _pattern(model: Model) -> tuple[int, int]:
    """Layers at the bottom that are like no other, and after how many those above them repeat."""
    window, mixture = model.window, model.mixture
    period = window.local + window.full if window else 1
    return (mixture.first_dense_layers, math.lcm(period, mixture.layer_step)) if mixture else (0, period)


def whole(records: Sequence[Measurement], asked: Plan) -> Whole | None:
    """The step's newest run among some records, beside the kernels'; None where no step has a time."""
    ops = {program.op for program in _PROGRAMS}
    ours = (one for one in records if one.subject.op in ops and not one.subject.is_peer)
    timed = [one for one in ours if one.statistics is not None]
    if not timed:
        return None
    run = max(timed, key=lambda one: one.started_at).run.run_id
    steps = best(one for one in timed if one.run.run_id == run)
    by_depth = {workload.model.layers: steps[workload] for workload in steps if isinstance(workload, _PROGRAMS)}
    kernels = best(one for one in records if one.subject.op not in ops)
    called = [need for need in asked.needs if need.count]
    missing = tuple(sorted({need.workload.op for need in called if need.workload not in kernels}))
    used = [kernels[need.workload] for need in called if need.workload in kernels]
    return Whole(
        _scaled(by_depth, asked.step.model.layers),
        None if missing or not called else _sum([(need.count, _span(kernels[need.workload])) for need in called]),
        missing,
        tuple(sorted(by_depth)),
        all(one.run.run_id == run for one in used),
        any(_statistics(one).disturbance > 0 for one in (*used, *by_depth.values())),
    )


def _sum(parts: Sequence[tuple[int, Span]]) -> Span:
    return Span(*(sum(count * getattr(part, end) for count, part in parts) for end in ("low_us", "us", "high_us")))


def _span(record: Measurement) -> Span:
    statistics = _statistics(record)
    return Span(statistics.latency_low_us, statistics.latency_us, statistics.latency_high_us)


def _statistics(record: Measurement) -> Statistics:
    if record.statistics is None:
        raise ValueError(f"{record.subject.label} has no time: its status is {record.outcome.status}")
    return record.statistics


def _scaled(by_depth: Mapping[int, Measurement], layers: int) -> Span | None:
    """The step with all layers, along the line through the two deepest copies."""
    found = {depth: _span(one) for depth, one in by_depth.items()}
    if layers in found:
        return found[layers]
    if len(found) < 2:
        return None
    few, many = sorted(found)[-2:]
    a, b, beyond = found[few], found[many], (layers - many) / (many - few)
    # At worst one depth is slow while the other is fast; but more layers take no less time.
    low_us = b.low_us + beyond * (b.low_us - a.high_us)
    return Span(max(b.low_us, low_us), b.us + beyond * (b.us - a.us), b.high_us + beyond * (b.high_us - a.low_us))


def _bytes(asked: Plan, layers: int) -> float:
    (step,) = asked.steps((layers,))
    return sum(tensor.nbytes for tensor in step.operands().values())
