"""What the samples of a kernel say, held against the probes beside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from ..store.figures import Bound, Followed
from .cache_levels import MEMORY
from .ceilings import Limits
from .core import is_alone
from .guard import IMPOSSIBLE, Floor, floor
from .result import Result, Timed
from .rounds import Follows, Series, calm_samples
from .statistics import Calm, disturbance, median_interval

READ, MULTIPLY_ADD, CORE = range(3)
"""Places of the probes of memory, of arithmetic and, where there is one, of the core that calls."""
_PROBES: Mapping[Followed, Follows] = {
    "machine": Follows((READ, MULTIPLY_ADD), against=READ),
    "core": Follows((CORE,), against=None),
}


def followed(result: Result, limits: Limits) -> Followed:
    """What a kernel's time follows: its core, where neither memory nor arithmetic binds it and no other core computes."""
    kernel = result.kernel
    if kernel is None or limits.core is None or _bound(result, limits) != "latency":
        return "machine"
    return "core" if is_alone(kernel.sample) else "machine"


def probes_of(follows: Followed) -> Follows:
    """The probes that say so."""
    return _PROBES[follows]


def judged(
    result: Result,
    series: Series,
    limits: Limits,
    levels: Sequence[Calm],
    fastest: np.ndarray,
    min_samples: int,
    follows: Followed = "machine",
) -> Result:
    """The result with its statistics, or refused where most of its samples beat the physical floor.

    Args:
        result: prepared and checked.
        series: its samples.
        limits: the machine's ceilings.
        levels: calm rates of the read and the multiply-add probe and, where there is one, of the core's.
        fastest: largest rate of each in the run.
        min_samples: calm samples that are enough to set the others aside.
        follows: what the kernel's time follows.
    """
    if not series.seconds:
        return replace(result, status="failed", reason="the time budget ended before its first sample", series=series)
    seconds, rates = np.asarray(series.seconds), np.asarray(series.rates)
    floor_at, probes = _floor_of(result, limits), probes_of(follows)
    least_us = floor_at(fastest[0], fastest[1]).us / IMPOSSIBLE
    possible = seconds * 1e6 >= least_us
    if not possible.all():
        series.stop_reason += f"; {np.sum(~possible)} refused as faster than the least possible {least_us:.3g} us"
    if possible.mean() < 0.5:
        return replace(result, status="refused", reason=_impossible(seconds, least_us, result, limits), series=series)
    quiet = calm_samples(series, levels, probes) & possible
    enough = quiet.sum() >= min_samples
    used = quiet if enough else possible
    if follows == "core":
        # Neither memory nor arithmetic changes its time. Where no sample is calm, a core that was slower took so much longer.
        beside = floor_at(levels[READ].level, levels[MULTIPLY_ADD].level)
        ratio = beside.us / (seconds * 1e6) / (1.0 if enough else rates[:, CORE] / levels[CORE].level)
    else:
        # Memory may have had two speeds: what is shown belongs together.
        beside = floor_at(*np.median(rates[used][:, [READ, MULTIPLY_ADD]], axis=0))
        ratio = np.array([floor_at(*pair).us for pair in rates[:, [READ, MULTIPLY_ADD]]]) / (seconds * 1e6)
    latency_us = median_interval(seconds[used] * 1e6)
    return replace(
        result,
        status="ok",
        series=series,
        timed=Timed(
            latency_us,
            median_interval(ratio[used]),
            beside.us,
            _bound(result, limits),
            quiet,
            0.0 if enough else _disturbance(series, levels, probes),
            follows,
            level_of(result, limits) or "",
        ),
    )


def _disturbance(series: Series, levels: Sequence[Calm], probes: Follows) -> float:
    places = list(probes.calm)
    return disturbance(np.asarray(series.worst)[:, places], np.array([levels[place].level for place in places]))


def level_of(result: Result, limits: Limits) -> str | None:
    """The level of the memory that a kernel's operands come from; None where it cannot be told."""
    if result.kernel is None:
        return None
    cost, levels = result.workload.cost(), limits.levels
    if not cost.streamed_bytes:
        return levels.of(cost.bytes)
    if result.kernel.residency == "cold":
        return None if levels.doubt else MEMORY
    return levels.of(result.kernel.pool_bytes)


def _floor_of(result: Result, limits: Limits) -> Callable[[float, float], Floor]:
    """What the floor of a call is where the probes read, and multiply and add, at some rates."""
    cost, levels = result.workload.cost(), limits.levels
    level = level_of(result, limits)
    # Of what cannot be told, the least time is that of the fastest level.
    fastest = max([*(one.read_gbs for one in levels.caches), levels.memory_gbs])
    hot_level = levels.of(cost.bytes - cost.streamed_bytes)
    hot = fastest if hot_level is None else levels.rate_gbs(hot_level)
    peak = max([limits.ceilings.multiply_add_gflops, *limits.ceilings.matmul_gflops.values()])

    def floor_at(read_gbs: float, multiply_add: float) -> Floor:
        scale = multiply_add / limits.ceilings.multiply_add_gflops
        streamed = read_gbs if level == MEMORY else fastest if level is None else max(read_gbs, levels.rate_gbs(level))
        return floor(cost, read_gbs=streamed, cache_gbs=max(hot, read_gbs), peak_gflops=peak * scale)

    return floor_at


def _bound(result: Result, limits: Limits) -> Bound:
    """What binds a call at the ceilings, which were measured together."""
    ceilings = limits.ceilings
    return _floor_of(result, limits)(ceilings.read_gbs, ceilings.multiply_add_gflops).bound(ceilings.dispatch_us)


def _impossible(seconds: np.ndarray, least_us: float, result: Result, limits: Limits) -> str:
    gbs = result.workload.cost().bytes / np.median(seconds) / 1e9
    return (
        f"median of {np.median(seconds) * 1e6:.3g} us ({gbs:.3g} GB/s) is below the least possible {least_us:.3g} us on this "
        f"machine's fastest measured read of {limits.ceilings.read_gbs:.3g} GB/s: operands came from cache, or work was skipped"
    )
