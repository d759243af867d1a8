"""The fit of this machine's kernels, and what it says of a whole step that is made of them.

A step is one program: it is dispatched once, and its calls follow each other without a dispatch, each with its own
start-up, and with weights that all the others have pushed out of the caches since the step before.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ....kernels.op import Need
from ...steps.workloads import resident_bytes
from ...store.record import Measurement
from ..interval import Z_80, scatter_of
from ..kernels.fit import Calls, Fit, fit, predict, total_log_variance
from ..ranges import Range
from .evidence import Conditions, Rows, calls_of, rows_of
from .physics import floor_us, plain_us

STEP_SD = 0.04
"""Standard deviation of a step's log time beyond its kernels' own, an assumption: threads wait for each other between calls,
and what a call leaves in the caches may serve the next."""

_LEAST_SCATTER = 0.02
"""Of the log time of single kernels: two compilations of one place their code and data elsewhere."""

_CALM = 0.1
"""Standard deviation of a log time that was measured well."""

_UNSEEN_SD = 0.5
"""Added doubt of the log time of an op or format that was not measured here at all."""


@dataclass(frozen=True)
class Own:
    """What was learned of a machine's kernels.

    Attributes:
        rows: the evidence.
        fit: parameters with their covariance.
        scatter: standard deviation of the log time of a kernel, beyond the parameters' doubt.
    """

    rows: Rows
    fit: Fit
    scatter: float

    @classmethod
    def of(cls, records: Sequence[Measurement]) -> Own:
        """The fit to records that have times, at least one of them."""
        rows = rows_of(records)
        fitted = fit(rows.calls, rows.latency_us, rows.noise)
        times = predict(rows.calls, fitted)
        # What was measured while the machine was not ours says more of the disturbance than of the kernel.
        calm = rows.noise <= max(_CALM, float(np.median(rows.noise)))
        residual = np.log(times.time_us / rows.latency_us)[calm]
        scatter = scatter_of(residual, (times.log_variance + rows.noise**2)[calm])
        return cls(rows, fitted, max(scatter, _LEAST_SCATTER))


@dataclass(frozen=True)
class StepTime:
    """A whole step by the fit of its kernels.

    Attributes:
        time_us: 80 % interval and point, never below the floor.
        floor_us: the best read of all that streams, on a machine that is as fast as it gets.
        reach: share of the speed of a plain read, at the point; at most 1.
        bound: what most of the point goes to: `memory`, `compute` or `latency`.
        parts_us: of the point, by op; `dispatch` is the one of the program.
        doubts: input -> share of the variance of the logarithm, largest first.
        unmeasured: kinds of kernels that the step calls and nobody measured here.
        unmeasured_share: of the point, that goes to them.
    """

    time_us: Range
    floor_us: float
    reach: float
    bound: str
    parts_us: Mapping[str, float]
    doubts: Mapping[str, float]
    unmeasured: tuple[str, ...]
    unmeasured_share: float


def step_time(own: Own, needs: Sequence[Need], now: Conditions, drift: float = 0.0) -> StepTime:
    """The time of a step.

    Args:
        own: the fit.
        needs: the calls of the step.
        now: what the machine can do meanwhile.
        drift: standard deviation of the logarithm of its speed.
    """
    called = [need for need in needs if need.count]
    count = np.array([need.count for need in called], float)
    # The weights of a step come round once per step: what they all take decides where they lie.
    calls = calls_of(
        [need.workload for need in called], [now] * len(called), [resident_bytes(needs)] * len(called), [0.0] * len(called)
    )
    plain, least = float(count @ plain_us(calls.work, calls.chips)), float(count @ floor_us(calls.work, calls.chips))
    least_us = least / float(np.exp(Z_80 * drift))
    each_us = count * predict(calls, own.fit).time_us
    starts_us = float(count @ predict(replace(calls, work=calls.work.in_cache()), own.fit).time_us)
    whole_us = float(each_us.sum() + now.dispatch_us)
    share = each_us / whole_us
    is_new = np.array([kernel not in own.rows.calls.kernels for kernel in calls.kernels])
    new_share = float(np.sum(share[is_new[calls.place]]))
    variance = {
        "the fit of the kernels": total_log_variance(calls, own.fit, count),
        "scatter of single kernels": _scatter(own, calls, share),
        "kernels that were not measured": (new_share * _UNSEEN_SD) ** 2,
        "what a step has beyond its kernels": STEP_SD**2,
        "the drift of the machine's speed": drift**2,
    }
    total = sum(variance.values())
    width = float(np.exp(Z_80 * np.sqrt(total)))
    parts = {"dispatch": now.dispatch_us}
    for need, one in zip(called, each_us.tolist(), strict=True):
        parts[need.workload.op] = parts.get(need.workload.op, 0.0) + one
    return StepTime(
        Range(whole_us / width, whole_us, whole_us * width).at_least(least_us),
        least_us,
        min(1.0, plain / whole_us),
        "latency" if starts_us > whole_us / 2 else "memory" if plain > whole_us / 2 else "compute",
        parts,
        {name: one / total for name, one in sorted(variance.items(), key=lambda one: -one[1]) if one > 0.005 * total},
        tuple(f"{one.engine} {one.format}".strip() for one, new in zip(calls.kernels, is_new, strict=True) if new),
        new_share,
    )


def _scatter(own: Own, calls: Calls, share: Float[np.ndarray, "calls"]) -> float:
    """Variance from each kernel's own scatter. Calls of one shape err together, those of different shapes do not."""
    return float(np.sum(share**2)) * own.scatter**2
