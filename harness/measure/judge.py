"""What the samples of a kernel say, held against the probes beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from .ceilings import Limits
from .guard import IMPOSSIBLE, Floor, floor
from .result import Result, Timed
from .rounds import Series, calm_samples
from .statistics import disturbance, median_interval

_MACHINE, _CORE = [0, 1], [2]
"""Places, among the probes, of memory and arithmetic, and of the core that calls."""


def followed(result: Result, limits: Limits) -> list[int]:
    """Places, in a row of `Series.rates`, of the probes that a kernel's time follows.

    Its core's, where neither memory nor arithmetic binds it: sweeping the memory says nothing of a norm.
    """
    ceilings = limits.ceilings
    at_best = _floor_of(result, limits)(ceilings.read_gbs, ceilings.multiply_add_gflops)
    return _CORE if limits.core and at_best.bound(ceilings.dispatch_us) == "latency" else _MACHINE


def judged(result: Result, series: Series, limits: Limits, levels: np.ndarray, fastest: np.ndarray, min_samples: int) -> Result:
    """The result with its statistics, or refused where most of its samples beat the physical floor.

    Args:
        result: prepared and checked.
        series: its samples.
        limits: the machine's ceilings.
        levels: calm rate of the read and the multiply-add probe and, where there is one, of the core's.
        fastest: largest rate of each in the run.
        min_samples: calm samples that are enough to set the others aside.
    """
    if not series.seconds:
        return replace(result, status="failed", reason="the time budget ended before its first sample", series=series)
    seconds, rates = np.asarray(series.seconds), np.asarray(series.rates)
    floor_at, follows = _floor_of(result, limits), followed(result, limits)
    least_us = floor_at(fastest[0], fastest[1]).us / IMPOSSIBLE
    possible = seconds * 1e6 >= least_us
    if not possible.all():
        series.stop_reason += f"; {np.sum(~possible)} refused as faster than the least possible {least_us:.3g} us"
    if possible.mean() < 0.5:
        return replace(result, status="refused", reason=_impossible(seconds, least_us, result, limits), series=series)
    quiet = calm_samples(series, levels, follows) & possible
    enough = quiet.sum() >= min_samples
    used = quiet if enough else possible
    at_level = floor_at(levels[0], levels[1])
    if follows is _CORE:
        # What waits for its core has one floor, and takes longer by as much as the core was slower.
        ratio = at_level.us / (seconds * 1e6 * rates[:, _CORE[0]] / levels[_CORE[0]])
    else:
        ratio = np.array([floor_at(*pair[:2]).us for pair in rates]) / (seconds * 1e6)
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
            0.0 if enough else disturbance(np.asarray(series.worst)[:, follows], levels[follows]),
        ),
    )


def _floor_of(result: Result, limits: Limits) -> Callable[[float, float], Floor]:
    """What the floor of a call is where the probes read, and multiply and add, at some rates."""
    cost = result.workload.cost()
    cold = result.kernel is not None and result.kernel.residency == "cold"
    near = max([*limits.ceilings.cache_read_gbs.values(), limits.ceilings.read_gbs])
    peak = max([limits.ceilings.multiply_add_gflops, *limits.ceilings.matmul_gflops.values()])

    def floor_at(read_gbs: float, multiply_add: float) -> Floor:
        scale = multiply_add / limits.ceilings.multiply_add_gflops
        return floor(cost, read_gbs=read_gbs if cold else near, cache_gbs=near, peak_gflops=peak * scale)

    return floor_at


def _impossible(seconds: np.ndarray, least_us: float, result: Result, limits: Limits) -> str:
    gbs = result.workload.cost().bytes / np.median(seconds) / 1e9
    return (
        f"median of {np.median(seconds) * 1e6:.3g} us ({gbs:.3g} GB/s) is below the least possible {least_us:.3g} us on this "
        f"machine's fastest measured read of {limits.ceilings.read_gbs:.3g} GB/s: operands came from cache, or work was skipped"
    )
