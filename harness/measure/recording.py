"""A result as the record that is kept of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from ...kernels.op import Need, Workload, is_peer
from ..host.host import Host
from ..steps.plan import Plan
from ..store.figures import Compilation, Statistics, Timing, Work
from ..store.record import Measurement, Outcome, Run, Subject, utc_now
from .ceilings import Limits
from .judge import CORE, MULTIPLY_ADD, READ
from .prove import tolerance
from .result import Result
from .timer import BY_THE_HOST


def recorder(
    asked: Plan,
    calls: Mapping[Workload, Sequence[Need]],
    run: Run,
    here: Host,
    limits: Limits,
    timer_note: str = "",
    device_figures: Callable[[], Mapping[str, float]] = dict,
    sizes: Mapping[str, int] | None = None,
) -> Callable[[Result], Measurement]:
    """What makes records of the results of one run of some calls.

    Args:
        timer_note: why a GPU's kernels are timed by the host.
        device_figures: asks a GPU for its clocks and what slows them; asked now, and for every kernel that was timed.
        sizes: of blocks that are not the kernels' own: with them, code is not the same, and goes by another name.
    """
    suffix = f"[{', '.join(f'{name}={size}' for name, size in sizes.items())}]" if sizes else ""
    before = device_figures()

    def to_record(result: Result) -> Measurement:
        accepted = tolerance(result.workload, result.implementation)
        return Measurement(
            started_at=utc_now(),
            run=run,
            subject=Subject.of(
                result.workload,
                result.implementation + ("" if is_peer(result.implementation) else suffix),
                asked.step,
                calls[result.workload],
            ),
            outcome=Outcome(status=result.status, reason=result.reason, error=result.error, tolerance=accepted),
            work=Work.of(result.workload.cost()),
            compilation=_compilation(result),
            timing=_timing(result, here, timer_note, before, device_figures),
            statistics=_statistics(result),
            ceilings=limits.ceilings,
            host=here,
        )

    return to_record


def _compilation(result: Result) -> Compilation | None:
    if result.compiled is None:
        return None
    xla = result.xla
    return Compilation(
        lower_s=result.compiled.lower_s,
        compile_s=result.compiled.compile_s,
        programs_s=result.programs_s,
        xla_flops=xla.flops,
        xla_bytes=xla.bytes,
        argument_bytes=xla.argument_bytes,
        output_bytes=xla.output_bytes,
        temporary_bytes=xla.temporary_bytes,
        alias_bytes=xla.alias_bytes,
        peak_bytes=xla.peak_bytes,
        cost_note=xla.note,
        compile_cache=result.compiled.cache,
    )


def _timing(
    result: Result, here: Host, note: str, before: Mapping[str, float], device_figures: Callable[[], Mapping[str, float]]
) -> Timing | None:
    kernel, series = result.kernel, result.series
    if kernel is None or series is None or result.status not in ("ok", "refused"):
        return None
    return Timing(
        timer=kernel.timer,
        method=result.method,
        residency=kernel.residency,
        pool_bytes=kernel.pool_bytes,
        calls_per_sample=kernel.calls_per_sample,
        samples_us=tuple(1e6 * seconds for seconds in series.seconds),
        read_probe_gbs=tuple(rates[READ] for rates in series.rates),
        multiply_add_probe_gflops=tuple(rates[MULTIPLY_ADD] for rates in series.rates),
        core_probe_turns_per_us=tuple(rates[CORE] for rates in series.rates if len(rates) > CORE),
        follows=result.timed.follows if result.timed else "machine",
        calm=tuple(result.calm),
        stop_reason=series.stop_reason,
        sampling_s=series.spent_s,
        overhead_us=1e6 * kernel.overhead_s,
        timer_note=BY_THE_HOST if here.timer not in ("", kernel.timer) else note,
        device_before=before,
        device_after=device_figures(),
    )


def _statistics(result: Result) -> Statistics | None:
    timed = result.timed
    if timed is None:
        return None
    return Statistics(
        latency_us=timed.latency_us.point,
        latency_low_us=timed.latency_us.low,
        latency_high_us=timed.latency_us.high,
        bandwidth_gbs=result.workload.cost().bytes / timed.latency_us.point / 1e3,
        fraction_of_ceiling=timed.ratio.point if timed.level else None,
        fraction_low=timed.ratio.low if timed.level else None,
        fraction_high=timed.ratio.high if timed.level else None,
        bound=timed.bound,
        floor_us=timed.floor_us,
        disturbance=timed.disturbance,
        precision_reached=timed.ratio.relative_half_width,
        level=timed.level,
    )
