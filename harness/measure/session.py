"""One run over many kernels: prove each correct, time them all interleaved, judge each by its probes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ...kernels import check
from ...kernels.op import Implementation, Workload, is_peer
from ...kernels.registry import supported
from .ceilings import Limits
from .cost_check import XlaCost, xla_cost
from .guard import IMPOSSIBLE, Bound, Floor, floor
from .prepare import CACHE_MULTIPLE, Compiled, Kernel, Residency, compile_call, outputs, prepare, prepare_peer
from .rounds import Series, Stopping, calm_samples, levels_of, measure
from .statistics import Interval, disturbance, median_interval

Status = Literal["ok", "wrong", "refused", "unsupported", "failed"]

POOL_SHARE = 0.5
"""Share of the free memory that the operands of one batch of kernels may take; drawing and checking need the rest."""


PEER_TOLERANCE = 2e-2
"""Accepted of other libraries, which round the vector to the weights' precision or add up in less than float32."""

Draw = Callable[[Workload, int], Mapping[str, Any]]


_Name = tuple[Workload, str]
"""What is measured: a call, and the name of the code that computes it."""


@dataclass(frozen=True)
class Timed:
    """What a kernel's samples say.

    Attributes:
        latency_us: median and interval over the samples used.
        ratio: floor over time, each sample against the probe beside it.
        floor_us: the floor at the calm level of the ceilings.
        bound: what binds the kernel.
        calm: mask of the samples that no probe calls disturbed.
        disturbance: how much of the machine was gone; 0 where enough calm samples were found.
    """

    latency_us: Interval
    ratio: Interval
    floor_us: float
    bound: Bound
    calm: np.ndarray
    disturbance: float


@dataclass(frozen=True)
class Result:
    """What came of one workload with one implementation. Fields after `reason` are None where it did not get so far."""

    workload: Workload
    implementation: str
    status: Status
    reason: str = ""
    error: float | None = None
    compiled: Compiled | None = None
    xla: XlaCost = field(default_factory=XlaCost)
    kernel: Kernel | None = None
    series: Series | None = None
    timed: Timed | None = None

    @property
    def calm(self) -> Sequence[bool]:
        """Per sample, whether the machine was ours; nothing is known of a refused kernel's."""
        count = len(self.series.seconds) if self.series else 0
        return [bool(one) for one in self.timed.calm] if self.timed else [False] * count


@dataclass(frozen=True)
class Machine:
    """What a session knows of where it runs.

    Attributes:
        backend: JAX's name of it.
        cache_bytes: last-level cache.
        free_bytes: memory that may be used.
        limits: measured ceilings and the probes that go on.
        usual_read_gbs, usual_multiply_add_gflops: calm rates of earlier runs on this host, None without history.
    """

    backend: str
    cache_bytes: float
    free_bytes: float
    limits: Limits
    usual_read_gbs: float | None = None
    usual_multiply_add_gflops: float | None = None


def chosen(workload: Workload, choice: str, backend: str) -> tuple[list[Implementation], dict[str, str]]:
    """The implementations that a choice means, and those that were passed over with their reasons.

    Args:
        workload: what is to be computed.
        choice: `default` (the best that supports the workload), `all`, or a name.
        backend: JAX's name of it.
    """
    able, refused = _offered(workload, backend, peers=False)
    if choice == "default":
        # What the machine lacks is worth a word; what was made for other calls is not.
        offered = (one for one, _ in supported(workload, backend))
        lacking = {one.name: reason for one in offered if (reason := one.missing())}
        return able[:1], lacking if able else refused
    return _named(workload, choice, able, refused, f"{workload.op} has no implementation of that name on {backend}")


def chosen_peers(workload: Workload, choice: str, backend: str) -> tuple[list[Implementation], dict[str, str]]:
    """Other libraries to measure beside ours, and those that were passed over with their reasons.

    Args:
        workload: what is to be computed.
        choice: `none`, `all`, or a library's name such as `torch`.
        backend: JAX's name of it.
    """
    if choice == "none":
        return [], {}
    able, refused = _offered(workload, backend, peers=True)
    choice = choice if choice == "all" else f"peers.{choice}"
    return _named(workload, choice, able, refused, f"no such library computes {workload.op} here")


def _offered(workload: Workload, backend: str, *, peers: bool) -> tuple[list[Implementation], dict[str, str]]:
    offered = list(supported(workload, backend, peers=peers))
    return [one for one, reason in offered if reason is None], {one.name: reason for one, reason in offered if reason}


def _named(
    workload: Workload, choice: str, able: list[Implementation], refused: dict[str, str], unknown: str
) -> tuple[list[Implementation], dict[str, str]]:
    if choice == "all":
        return able, refused
    named = [one for one in able if one.name == choice]
    missing = {} if named or choice in refused else {choice: unknown}
    return named, missing | {name: reason for name, reason in refused.items() if name == choice}


def run(
    calls: Sequence[tuple[Workload, Implementation]],
    machine: Machine,
    stopping: Stopping,
    *,
    residency: Residency,
    seed: int,
    progress: Callable[[str, float], None] = lambda what, share: None,
    draw: Draw = check.draw,
) -> Iterator[Result]:
    """Results in the order in which they are known; each batch that fits the memory is interleaved as a whole.

    Args:
        calls: what to measure.
        machine: where.
        stopping: when a kernel has been sampled enough; the budget is shared among batches.
        residency: of weights and cache.
        seed: of operands and of the random order.
        progress: told what is being done, and the share of the whole that is done.
        draw: makes the packed operands of a call from a seed.
    """
    batches = list(_batches(calls, POOL_SHARE * machine.free_bytes, machine.cache_bytes))
    done = 0
    for batch in batches:
        ready: dict[_Name, Result] = {}
        for workload, one in batch:
            progress(f"checking {workload.label}", done / len(calls) / 2)
            result = _ready(workload, one, machine, residency, lambda call: draw(call, seed))
            done += 1
            if result.kernel is None:
                yield result
            else:
                ready[workload, one.name] = result
        share = Stopping(
            stopping.precision, stopping.min_samples, stopping.max_samples, stopping.budget_s * len(batch) / len(calls)
        )
        yield from _timed(ready, machine, share, seed, progress)


def _timed(
    ready: Mapping[_Name, Result],
    machine: Machine,
    stopping: Stopping,
    seed: int,
    progress: Callable[[str, float], None],
) -> Iterator[Result]:
    probes = (machine.limits.read, machine.limits.multiply_add)
    series = measure(
        {name: result.kernel.sample for name, result in ready.items() if result.kernel},
        [probe.rate for probe in probes],
        stopping,
        usual=(machine.usual_read_gbs, machine.usual_multiply_add_gflops),
        seed=seed,
        progress=lambda name, count, total: progress(f"timed {name[0].label}", (1 + count / total) / 2),
    )
    seen = [pair for one in series.values() for pair in one.worst]
    levels = levels_of(seen, (machine.usual_read_gbs, machine.usual_multiply_add_gflops)) if seen else np.ones(2)
    fastest = np.asarray([pair for one in series.values() for pair in one.rates]).max(axis=0) if seen else np.ones(2)
    for name, result in ready.items():
        yield judged(result, series[name], machine.limits, levels, fastest, stopping.min_samples)


def judged(result: Result, series: Series, limits: Limits, levels: np.ndarray, fastest: np.ndarray, min_samples: int) -> Result:
    """The result with its statistics, or refused where most of its samples beat the physical floor.

    Args:
        result: prepared and checked.
        series: its samples.
        limits: the machine's ceilings.
        levels: calm rate of the read and the multiply-add probe.
        fastest: largest rate of each in the run.
        min_samples: calm samples that are enough to set the others aside.
    """
    if not series.seconds:
        return replace(result, status="failed", reason="the time budget ended before its first sample", series=series)
    cost = result.workload.cost()
    seconds, rates = np.asarray(series.seconds), np.asarray(series.rates)
    cold = result.kernel is not None and result.kernel.residency == "cold"
    near = max([*limits.ceilings.cache_read_gbs.values(), limits.ceilings.read_gbs])
    peak = max([limits.ceilings.multiply_add_gflops, *limits.ceilings.matmul_gflops.values()])

    def floor_at(read_gbs: float, multiply_add: float) -> Floor:
        scale = multiply_add / limits.ceilings.multiply_add_gflops
        return floor(cost, read_gbs=read_gbs if cold else near, cache_gbs=near, peak_gflops=peak * scale)

    least_us = floor_at(fastest[0], fastest[1]).us / IMPOSSIBLE
    possible = seconds * 1e6 >= least_us
    if not possible.all():
        series.stop_reason += f"; {np.sum(~possible)} refused as faster than the least possible {least_us:.3g} us"
    if possible.mean() < 0.5:
        return replace(result, status="refused", reason=_impossible(seconds, least_us, result, limits), series=series)
    quiet = calm_samples(series, levels) & possible
    enough = quiet.sum() >= min_samples
    used = quiet if enough else possible
    ratio = np.array([floor_at(*pair).us for pair in rates]) / (seconds * 1e6)
    at_level = floor_at(levels[0], levels[1])
    latency_us = median_interval(seconds[used] * 1e6)
    return replace(
        result,
        status="ok",
        series=series,
        timed=Timed(
            latency_us,
            median_interval(ratio[used]),
            at_level.us,
            at_level.bound(limits.ceilings.dispatch_us),
            quiet,
            0.0 if enough else disturbance(np.asarray(series.worst), levels),
        ),
    )


def _impossible(seconds: np.ndarray, least_us: float, result: Result, limits: Limits) -> str:
    gbs = result.workload.cost().bytes / np.median(seconds) / 1e9
    return (
        f"median of {np.median(seconds) * 1e6:.3g} us ({gbs:.3g} GB/s) is below the least possible {least_us:.3g} us on this "
        f"machine's fastest measured read of {limits.ceilings.read_gbs:.3g} GB/s: operands came from cache, or work was skipped"
    )


def _ready(
    workload: Workload, one: Implementation, machine: Machine, residency: Residency, draw: Callable[[Workload], Any]
) -> Result:
    """Draws operands, compiles, proves the result, and prepares the timing; stops where one of them says no."""
    needed = pool_bytes(workload, machine.cache_bytes)
    if needed > POOL_SHARE * machine.free_bytes:
        room = f"{POOL_SHARE:.0%} of the {machine.free_bytes / 1e9:.1f} GB that are free"
        return Result(workload, one.name, "refused", f"its operands take {needed / 1e9:.1f} GB, more than {room}")
    result = _proven(_stand_in(workload, machine.cache_bytes, residency), one, machine, residency, draw)
    if result.kernel is not None and result.workload != workload:
        result = replace(result, kernel=replace(result.kernel, method=f"{result.kernel.method} of {result.workload.label}"))
    return replace(result, workload=workload)


def _proven(
    workload: Workload, one: Implementation, machine: Machine, residency: Residency, draw: Callable[[Workload], Any]
) -> Result:
    packed = draw(workload)
    if one.is_peer:
        return _ready_peer(workload, one, machine, residency, packed)
    try:
        compiled = compile_call(workload, one, packed)
        computed = outputs(workload, compiled, packed)
    except Exception as error:
        # An implementation may fail in any way its compiler can; the others must still be measured.
        return Result(workload, one.name, "failed", _words(error))
    xla = xla_cost(compiled.program, workload, machine.backend)
    wrong = check.error(workload, computed, check.expected(workload, packed))
    if not wrong <= workload.tolerance():
        return Result(workload, one.name, "wrong", _too_far(wrong, workload.tolerance()), wrong, compiled, xla)
    try:
        kernel = prepare(
            workload,
            one,
            compiled,
            packed,
            residency=residency,
            cache_bytes=machine.cache_bytes,
            dispatch_s=machine.limits.ceilings.dispatch_us / 1e6,
        )
    except Exception as error:
        return Result(workload, one.name, "failed", _words(error), wrong, compiled, xla)
    return Result(workload, one.name, "ok", "", wrong, compiled, xla, kernel)


def _ready_peer(
    workload: Workload, one: Implementation, machine: Machine, residency: Residency, packed: Mapping[str, Any]
) -> Result:
    try:
        call = one.function(workload, **packed)
        wrong = check.error(workload, call(), check.expected(workload, packed))
        if not wrong <= (limit := tolerance(workload, one.name)):
            return Result(workload, one.name, "wrong", _too_far(wrong, limit), wrong)
        kernel = prepare_peer(workload, one, packed, residency=residency, cache_bytes=machine.cache_bytes)
    except Exception as error:
        # Another library may fail in any way it likes; ours must still be measured.
        return Result(workload, one.name, "failed", _words(error))
    return Result(workload, one.name, "ok", "", wrong, kernel=kernel)


def tolerance(workload: Workload, implementation: str) -> float:
    """The largest error that is accepted of an implementation, by name."""
    return max(workload.tolerance(), PEER_TOLERANCE) if is_peer(implementation) else workload.tolerance()


def _too_far(wrong: float, limit: float) -> str:
    return f"its error of {wrong:.2g} against the float64 reference exceeds {limit:.2g}"


def _stand_in(workload: Workload, cache_bytes: float, residency: Residency) -> Workload:
    """What is measured in a workload's place. Where operands may be in cache, a call need keep no others."""
    return workload.stand_in(CACHE_MULTIPLE * cache_bytes if residency == "cold" else 0)


def _words(error: Exception) -> str:
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


def _batches(
    calls: Iterable[tuple[Workload, Implementation]], budget_bytes: float, cache_bytes: float
) -> Iterator[list[tuple[Workload, Implementation]]]:
    """Calls in order, cut wherever the operands of a batch would exceed the budget."""
    batch: list[tuple[Workload, Implementation]] = []
    held = 0.0
    for workload, one in calls:
        size = pool_bytes(workload, cache_bytes)
        if batch and held + size > budget_bytes:
            yield batch
            batch, held = [], 0.0
        batch.append((workload, one))
        held += size
    if batch:
        yield batch


def pool_bytes(workload: Workload, cache_bytes: float) -> float:
    """Bytes that a workload's rotated operands take."""
    operands = _stand_in(workload, cache_bytes, "cold").operands()
    streamed = sum(tensor.nbytes for tensor in operands.values() if tensor.role in ("weight", "kv"))
    return streamed * max(1, math.ceil(CACHE_MULTIPLE * cache_bytes / max(1.0, streamed)))
