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
from ..store.figures import Followed, Residency
from .judge import READ, followed, judged, probes_of
from .prepare import needed_bytes
from .prove import Draw, ready, stand_in
from .result import Machine, Result
from .rounds import Stopping, levels_of, measure
from .settle import settle
from .spent import Held
from .statistics import Calm

_HAVE_SPEEDS = (READ,)
"""The memory of a shared machine runs at one of two speeds for minutes at a time."""
Call = tuple[Workload, Implementation]
_Name = tuple[Workload, str]
"""What is measured: a call, and the name of the code that computes it."""


def run(
    calls: Sequence[Call],
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

    done = 0
    for batch in batches(calls, machine, residency):
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


def needed(machine: Machine, residency: Residency) -> Callable[[Call], float]:
    """What says how many bytes a call holds while it is timed."""
    caches = machine.limits.caches

    def of(call: Call) -> float:
        workload, one = call
        return needed_bytes(stand_in(workload, caches, residency), caches, residency, is_peer=one.is_peer)

    return of


def batches(calls: Iterable[Call], machine: Machine, residency: Residency) -> list[list[Call]]:
    """Calls that are held at once, and timed by turns."""
    return list(machine.budget.batches(calls, needed(machine, residency), machine.limits.probe_bytes))


def _timed(
    proven: dict[_Name, Result],
    machine: Machine,
    stopping: Stopping,
    seed: int,
    progress: Callable[[str, float], None],
    measuring: Held,
) -> Iterator[Result]:
    limits = machine.limits
    next_to = [limits.core.rate] if limits.core else []
    usual = [machine.usual_read_gbs, machine.usual_multiply_add_gflops]
    if limits.core:
        # A short run may lie in one visit of the core's neighbour: the ceilings were taken at another moment.
        known = (machine.usual_core_turns_per_us, limits.ceilings.core_turns_per_us)
        usual.append(max((one for one in known if one is not None), default=None))
    with measuring():
        for name in proven:
            settle(proven, name)
        follows: dict[_Name, Followed] = {name: followed(result, limits) for name, result in proven.items()}
        series = measure(
            {name: result.kernel.sample for name, result in proven.items() if result.kernel},
            [limits.read.rate, limits.multiply_add.rate],
            stopping,
            usual=usual,
            seed=seed,
            next_to=next_to,
            follows={name: probes_of(one) for name, one in follows.items()},
            has_speeds=_HAVE_SPEEDS,
            progress=lambda name, count, total, width: progress(_timing(name[0], width), (1 + count / total) / 2),
        )
    seen = [row for one in series.values() for row in one.rates]
    levels = levels_of(series.values(), usual, _HAVE_SPEEDS) if seen else [Calm(1.0)] * len(usual)
    fastest = np.asarray(seen).max(axis=0) if seen else np.ones(len(usual))
    for name in list(proven):
        result = proven.pop(name)
        if result.kernel is None:
            yield result
        else:
            found = judged(result, series[name], machine.limits, levels, fastest, stopping.min_samples, follows[name])
            # Whoever keeps the result must not keep its operands from the next batch.
            yield replace(found, kernel=result.kernel.without_operands())


def _timing(workload: Workload, half_width: float) -> str:
    known = f", +-{half_width:.1%} so far" if math.isfinite(half_width) else ""
    return f"timing {workload.label}{known}"
