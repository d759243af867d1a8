"""`roofcast bench`: measure a step's kernels here, keep every measurement, show the tables."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import psutil
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from ..kernels import check
from ..kernels.op import Implementation, Need, Workload
from ..kernels.registry import supported
from ..kernels.step import DecodeStep
from ..kernels.step.checkpoint import Checkpoint, differences
from . import host as hosts
from .errors import UsageError
from .figures import Compilation, Statistics, Timing, Work
from .linux import memory_available
from .measure import session
from .measure.ceilings import Limits, measure_limits
from .measure.choice import chosen as chosen_implementations
from .measure.choice import chosen_peers
from .measure.device import backend_and_kind
from .measure.prove import POOL_SHARE, Draw
from .measure.prove import tolerance as accepted_error
from .measure.result import Machine, Result
from .measure.rounds import Stopping
from .overrides import as_typed
from .plan import Plan, chosen, plan
from .recall import usual
from .record import Measurement, Outcome, Run, Subject, utc_now
from .report.progress import Progress
from .report.summary import summary
from .report.table import check_output, show, write
from .store import Store
from .whole import depths

MEASURED_FORMATS = ("f32", "bf16")
"""Formats whose matrix-product peak is probed: those that kernels compute in."""

MANY_FILES = 256
"""Runs whose files are merged into one: reading that many small files takes about a second."""


def run(config: DictConfig) -> int:
    """Measures, stores and shows. Returns 1 if a kernel was wrong, refused or failed."""
    asked = plan(config)
    stopping = _stopping(config)
    residency: Any = chosen("timing.residency", config.timing.residency, ("cold", "warm"))
    if config.seed < 0:
        raise UsageError(f"seed must be a whole number from 0; got {config.seed}")
    free_bytes = memory_available(Path("/")) or psutil.virtual_memory().available
    calls = asked.calls(config.kernel.ops)
    if "step" in config.kernel.ops:
        calls |= asked.steps(depths(asked, POOL_SHARE * free_bytes))
    draw = _drawing(config.weights, calls)
    if not calls:
        raise UsageError(f"kernel must be an op that {asked.step.model.name} calls; got {', '.join(config.kernel.ops)}")
    if config.output:
        check_output(Path(config.output))
    store = Store(config.results)
    store.check_writable()
    backend, device_kind = backend_and_kind()
    here = hosts.fingerprint(backend=backend, device_kind=device_kind)
    this_run = Run.start(config_hash=_hash(config), overrides=as_typed(HydraConfig.get().overrides.task))

    with Progress() as progress:
        chosen_calls, passed_over = _implementations(calls, config.implementation, config.peers, backend)
        progress("measuring this machine's ceilings", 0.0)
        limits = measure_limits(backend, here.cache_bytes, MEASURED_FORMATS)
        before, complaint = usual(store, here.key)
        machine = Machine(
            backend=backend,
            cache_bytes=here.last_level_cache_bytes,
            free_bytes=free_bytes,
            limits=limits,
            usual_read_gbs=before.read_gbs,
            usual_multiply_add_gflops=before.multiply_add_gflops,
        )
        to_record = _recorder(asked, calls, this_run, here, limits)
        records = [to_record(result) for result in passed_over]
        try:
            for result in session.run(
                chosen_calls, machine, stopping, residency=residency, seed=config.seed, progress=progress, draw=draw
            ):
                records.append(to_record(result))
        finally:
            # Whatever ends a run early, what was finished is kept.
            store.append(records)
    shown = summary(records, asked)
    for table in shown:
        show(table)
    print(f"\n  {len(records)} measurements kept in {config.results}")
    if config.output:
        write(shown, Path(config.output))
    store.compact(at_least=MANY_FILES)
    if complaint:
        print(f"roofcast: {complaint}", file=sys.stderr)
    return int(bool(complaint) or any(record.outcome.status in ("wrong", "refused", "failed") for record in records))


def _implementations(
    calls: Mapping[Workload, Sequence[Need]], choice: str, peers: str, backend: str
) -> tuple[list[tuple[Workload, Implementation]], list[Result]]:
    """Pairs to measure, and a result with its reason for each implementation that was passed over."""
    pairs: list[tuple[Workload, Implementation]] = []
    passed_over: list[Result] = []
    for workload in calls:
        for able, refused in (
            chosen_implementations(workload, choice, backend),
            chosen_peers(workload, peers, backend),
        ):
            pairs += [(workload, one) for one in able]
            passed_over += [Result(workload, name, "unsupported", reason) for name, reason in refused.items()]
    known = {"none", "all"} | {
        one.name.partition(".")[2] for workload in calls for one, _ in supported(workload, backend, peers=True)
    }
    if peers not in known:
        raise UsageError(f"peers must be one of {', '.join(sorted(known))} for these kernels; got {peers!r}")
    if not pairs:
        reasons = "; ".join(dict.fromkeys(f"{result.implementation}: {result.reason}" for result in passed_over))
        raise UsageError(f"implementation must be one that can compute these kernels; got {choice!r}: {reasons}")
    return pairs, passed_over


def _drawing(weights: str | None, calls: Iterable[Workload]) -> Draw:
    """What makes operands: a seed, and for a whole step the user's own weights where there are some."""
    if weights is None:
        return check.draw
    steps = [call for call in calls if isinstance(call, DecodeStep)]
    if not steps:
        raise UsageError(f"weights must be null unless the whole step of a decoder is measured (kernel=step); got {weights!r}")
    folder = Path(weights).expanduser()
    try:
        checkpoint = Checkpoint(folder)
        for step in steps:
            checkpoint.check(step)
    except ValueError as error:
        raise UsageError(str(error)) from None
    for difference in differences(folder):
        print(f"roofcast: the model's {difference}: times are the model's, tokens would not be", file=sys.stderr)

    def draw(workload: Workload, seed: int) -> Mapping[str, Any]:
        drawn = check.draw(workload, seed)
        return drawn | checkpoint.read(workload) if isinstance(workload, DecodeStep) else drawn

    return draw


def _recorder(
    asked: Plan, calls: Mapping[Workload, Sequence[Need]], run: Run, here: hosts.Host, limits: Limits
) -> Callable[[Result], Measurement]:
    def to_record(result: Result) -> Measurement:
        tolerance = accepted_error(result.workload, result.implementation)
        return Measurement(
            started_at=utc_now(),
            run=run,
            subject=Subject.of(result.workload, result.implementation, asked.step, calls[result.workload]),
            outcome=Outcome(status=result.status, reason=result.reason, error=result.error, tolerance=tolerance),
            work=Work.of(result.workload.cost()),
            compilation=_compilation(result),
            timing=_timing(result),
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
        xla_flops=xla.flops,
        xla_bytes=xla.bytes,
        argument_bytes=xla.argument_bytes,
        output_bytes=xla.output_bytes,
        temporary_bytes=xla.temporary_bytes,
        alias_bytes=xla.alias_bytes,
        peak_bytes=xla.peak_bytes,
        cost_note=xla.note,
    )


def _timing(result: Result) -> Timing | None:
    kernel, series = result.kernel, result.series
    if kernel is None or series is None or result.status not in ("ok", "refused"):
        return None
    return Timing(
        timer="perf_counter",
        method=kernel.method,
        residency=kernel.residency,
        pool_bytes=kernel.pool_bytes,
        calls_per_sample=kernel.calls_per_sample,
        samples_us=tuple(1e6 * seconds for seconds in series.seconds),
        read_probe_gbs=tuple(pair[0] for pair in series.rates),
        multiply_add_probe_gflops=tuple(pair[1] for pair in series.rates),
        calm=tuple(result.calm),
        stop_reason=series.stop_reason,
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
        fraction_of_ceiling=timed.ratio.point,
        fraction_low=timed.ratio.low,
        fraction_high=timed.ratio.high,
        bound=timed.bound,
        floor_us=timed.floor_us,
        disturbance=timed.disturbance,
        precision_reached=timed.ratio.relative_half_width,
    )


def _stopping(config: DictConfig) -> Stopping:
    timing = config.timing
    for name in ("precision", "budget_s"):
        if not 0 < timing[name] < float("inf"):
            raise UsageError(f"timing.{name} must be a number above 0; got {timing[name]}")
    for name in ("min_samples", "max_samples"):
        if timing[name] < 2:
            raise UsageError(f"timing.{name} must be a whole number from 2; got {timing[name]}")
    if timing.max_samples < timing.min_samples:
        raise UsageError(
            f"timing.max_samples must be at least timing.min_samples, {timing.min_samples}; got {timing.max_samples}"
        )
    return Stopping(timing.precision, timing.min_samples, timing.max_samples, timing.budget_s)


def _hash(config: DictConfig) -> str:
    """Twelve hexadecimal digits of the resolved configuration, without where its results go."""
    asked: Any = OmegaConf.to_container(config, resolve=True)
    asked = {key: value for key, value in asked.items() if key not in ("results", "output")}
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()[:12]
