"""Whole steps that were measured here, each set beside what the fits of this machine's kernels say of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...kernels.op import Need, Workload
from ...kernels.step import DecodeStep
from ..calibrate.evidence import best
from ..calibrate.own.calibration import Own, StepTime, step_time
from ..calibrate.own.evidence import Conditions, beside
from ..calibrate.ranges import Range
from ..errors import UsageError
from ..steps.workloads import decode_step
from ..store.recall import kernels_of
from ..store.record import Measurement


@dataclass(frozen=True)
class StepVerdict:
    """One measured step.

    Attributes:
        record: as measured.
        now: what the machine could do beside its samples.
        found: its time by the fit, then.
        kernels: measurements of kernels that the fit rests on.
        sum_us: the step's kernels as the same run measured them, each as often as a token needs it; None without some of them.
    """

    record: Measurement
    now: Conditions
    found: StepTime
    kernels: int
    sum_us: float | None

    @property
    def step(self) -> DecodeStep:
        """The step."""
        call = self.record.subject.workload
        if not isinstance(call, DecodeStep):
            raise ValueError(f"op must be step; got {self.record.subject.op}")
        return call

    @property
    def measured_us(self) -> Range:
        """The median with its 95 % interval."""
        statistics = self.record.statistics
        if statistics is None:
            raise ValueError(f"{self.record.subject.label} has no time: its status is {self.record.outcome.status}")
        return Range(statistics.latency_low_us, statistics.latency_us, statistics.latency_high_us)

    @property
    def error(self) -> float:
        """Predicted over measured, less 1."""
        return float(self.found.time_us.point / self.measured_us.point - 1)

    @property
    def is_inside(self) -> bool:
        """The measured time lies in the 80 % interval."""
        return float(self.measured_us.point) in self.found.time_us

    @property
    def is_disturbed(self) -> bool:
        """Its samples rest on a machine that was not all ours."""
        return self.record.statistics is not None and self.record.statistics.disturbance > 0


def verdicts(records: Sequence[Measurement], *, leave_out: bool) -> list[StepVerdict]:
    """A verdict per measured step: the newest of each model, layers, context and formats.

    No step's own time is part of any fit.

    Args:
        records: of one machine.
        leave_out: predict each step from the kernels of other models only.

    Raises:
        UsageError: if there is no step, or no kernel to predict one from.
    """
    newest = {one.subject.axes: one for one in records if one.subject.op == DecodeStep.op}
    if not newest:
        raise UsageError(
            "results must hold a whole step of this machine; they have none: run roofcast bench kernel=step model=MODEL first"
        )
    kernels = kernels_of(records)
    fits: dict[str, Own] = {}
    found = []
    for one in newest.values():
        hidden = one.subject.model if leave_out else ""
        if hidden not in fits:
            fits[hidden] = Own.of(_without(kernels, hidden))
        step = one.subject.workload
        if isinstance(step, DecodeStep):
            now = beside(one)
            needs = decode_step(step.composition.step)
            time = step_time(fits[hidden], needs, now, _disturbance(one))
            beside_it = best(other for other in kernels if other.run.run_id == one.run.run_id)
            found.append(StepVerdict(one, now, time, len(fits[hidden].rows.records), _sum_us(needs, beside_it)))
    return sorted(found, key=_order)


def _without(kernels: Sequence[Measurement], model: str) -> list[Measurement]:
    left = [one for one in kernels if one.subject.model != model]
    if not left:
        hint = f"run roofcast bench with another model than {model}" if model else "run roofcast bench first"
        raise UsageError(f"results must hold kernels to predict a step from; they have none: {hint}")
    return left


def _sum_us(needs: Sequence[Need], measured: Mapping[Workload, Measurement]) -> float | None:
    parts = [(need.count, measured[need.workload].statistics) for need in needs if need.count and need.workload in measured]
    if len(parts) < sum(need.count > 0 for need in needs):
        return None
    return sum(count * statistics.latency_us for count, statistics in parts if statistics)


def _disturbance(record: Measurement) -> float:
    return record.statistics.disturbance if record.statistics else 0.0


def _order(one: StepVerdict) -> tuple[str | int, ...]:
    step = one.step
    return one.record.subject.model, step.weight_format, step.kv_format, step.context, step.model.layers


def score(found: Sequence[StepVerdict]) -> tuple[float, float]:
    """The largest absolute error, and the share inside the interval."""
    return max(abs(one.error) for one in found), float(np.mean([one.is_inside for one in found]))
