"""One run over many kernels: prove each correct, time them all interleaved, judge each by its probes."""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import replace

import numpy as np

from ...kernels import check
from ...kernels.op import Implementation, Workload
from ..steps.plan import POOL_SHARE
from ..store.figures import Residency
from .ceilings import Limits
from .guard import IMPOSSIBLE, Floor, floor
from .prove import Draw, pool_bytes, ready
from .result import Machine, Result, Timed
from .rounds import Series, Stopping, calm_samples, levels_of, measure
from .settle import settle
from .spent import Held
from .statistics import disturbance, median_interval

_Name = tuple[Workload, str]
"""What is measured: a call, and the name of the code that computes it."""


def run(
    calls: Sequence[tuple[Workload, Implementation]],
    machine: Machine,
    stopping: Stopping,
    *,
    residency: Residency,
    seed: int,
    progress: Callable[[str, float], None] = lambda what, share: None,
    draw: Draw = check.draw,
    drawing: Held = nullcontext,
    on_host: Held = nullcontext,
    on_device: Held = nullcontext,
    measuring: Held = nullcontext,
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
        drawing, on_host, on_device: see `prove.ready`.
        measuring: entered around the samples of a batch.
    """
    batches = list(_batches(calls, POOL_SHARE * machine.free_bytes, machine.cache_bytes))
    done = 0
    for batch in batches:
        proven: dict[_Name, Result] = {}
        # JAX lets go of memory that it took over when Python next looks for garbage.
        gc.collect(0)
        for workload, one in batch:
            progress(f"checking {workload.label}", done / len(calls) / 2)
            name = workload, one.name
            proven[name] = ready(
                workload,
                one,
                machine,
                residency,
                lambda call: draw(call, seed),
                seed=seed if draw is check.draw else None,
                drawing=drawing,
                on_host=on_host,
                on_device=on_device,
            )
            done += 1
            if proven[name].kernel is None:
                yield proven.pop(name)
        share = Stopping(
            stopping.precision, stopping.min_samples, stopping.max_samples, stopping.budget_s * len(batch) / len(calls)
        )
        yield from _timed(proven, machine, share, seed, progress, measuring)


def _timed(
    proven: dict[_Name, Result],
    machine: Machine,
    stopping: Stopping,
    seed: int,
    progress: Callable[[str, float], None],
    measuring: Held,
) -> Iterator[Result]:
    probes = (machine.limits.read, machine.limits.multiply_add)
    with measuring():
        for name in proven:
            settle(proven, name)
        series = measure(
            {name: result.kernel.sample for name, result in proven.items() if result.kernel},
            [probe.rate for probe in probes],
            stopping,
            usual=(machine.usual_read_gbs, machine.usual_multiply_add_gflops),
            seed=seed,
            progress=lambda name, count, total, width: progress(_timing(name[0], width), (1 + count / total) / 2),
        )
    seen = [pair for one in series.values() for pair in one.worst]
    levels = levels_of(seen, (machine.usual_read_gbs, machine.usual_multiply_add_gflops)) if seen else np.ones(2)
    fastest = np.asarray([pair for one in series.values() for pair in one.rates]).max(axis=0) if seen else np.ones(2)
    for name, result in proven.items():
        if result.kernel is None:
            yield result
        else:
            yield judged(result, series[name], machine.limits, levels, fastest, stopping.min_samples)


def _timing(workload: Workload, half_width: float) -> str:
    known = f", +-{half_width:.1%} so far" if math.isfinite(half_width) else ""
    return f"timing {workload.label}{known}"


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
