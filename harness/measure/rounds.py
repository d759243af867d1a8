"""Kernels and ceiling probes interleaved in random order until each kernel's ratio is known well enough.

The speed of a shared machine drifts by a factor of two in seconds, so a time means nothing alone. Every sample
of a kernel lies between two samples of each probe, and what is estimated is the ratio between it and the probe that it follows.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from .statistics import Calm, median_interval

CALM_TOLERANCE = 0.15
"""A probe this far under its calm level says that the machine was not ours; the drift of a quiet host stays within."""


@dataclass(frozen=True)
class Stopping:
    """When a kernel has been sampled enough.

    Attributes:
        precision: wanted half-width of the interval of the median ratio, relative to it.
        min_samples, max_samples: calm samples that are at least, all samples that are at most taken.
        budget_s: seconds for all kernels together.
    """

    precision: float
    min_samples: int
    max_samples: int
    budget_s: float


@dataclass(frozen=True)
class Follows:
    """Which probes a kernel's time follows.

    Attributes:
        calm: places of the probes that say whether a sample is calm.
        against: place of the probe that ratios are taken against; None where the time of a calm sample says it all.
    """

    calm: tuple[int, ...]
    against: int | None


@dataclass
class Series:
    """All samples of one kernel in order, each with the rates of the probes around it.

    Attributes:
        seconds: time per call.
        rates: per sample and probe, the mean rate of the probe just before and just after; in the probe's own unit. Those next
            to the sample come last.
        worst: per sample and probe, the lesser of the two.
        stop_reason: why sampling ended.
        spent_s: seconds that the samples and the probes beside them took.
    """

    seconds: list[float] = field(default_factory=list)
    rates: list[list[float]] = field(default_factory=list)
    worst: list[list[float]] = field(default_factory=list)
    stop_reason: str = ""
    spent_s: float = 0.0


Name = TypeVar("Name")


def measure(
    kernels: Mapping[Name, Callable[[], float]],
    probes: Sequence[Callable[[], float]],
    stopping: Stopping,
    *,
    usual: Sequence[float | None],
    seed: int,
    next_to: Sequence[Callable[[], float]] = (),
    follows: Mapping[Name, Follows] | None = None,
    has_speeds: Collection[int] = (),
    progress: Callable[[Name, int, int, float], None] = lambda name, done, total, precision: None,
) -> dict[Name, Series]:
    """Samples every kernel, in rounds of random order, until each meets the criterion or the budget is spent.

    Args:
        kernels: name -> one sample, in seconds per call.
        probes: each takes one sample and returns a rate (larger is faster).
        usual: each probe's usual calm rate on this host, or None where there is no history; those of `next_to` come last.
        next_to: short probes of what changes too fast for the others: sampled right before and right after each sample.
        follows: for each kernel; the places of `next_to` count on from those of `probes`. If None, all of `probes` say what is
            calm, and ratios are taken against the first.
        has_speeds: places of the probes of what has several speeds of its own, at each of which it is calm.
        progress: told after each round the kernel that is known least, how many are done, how many there are, and the
            relative half-width of that kernel's interval, infinite while there is none.

    Returns:
        A series per kernel, nothing dropped.
    """
    rng = np.random.default_rng(seed)
    series = {name: Series() for name in kernels}
    active = list(kernels)
    deadline = time.perf_counter() + stopping.budget_s
    followed = dict.fromkeys(kernels, Follows(tuple(range(len(probes))), 0)) if follows is None else follows
    before = [probe() for probe in probes]
    while active:
        for name in (active[place] for place in rng.permutation(len(active))):
            start = time.perf_counter()
            close_before = [probe() for probe in next_to]
            seconds = kernels[name]()
            close_after = [probe() for probe in next_to]
            after = [probe() for probe in probes]
            around = list(zip(before + close_before, after + close_after, strict=True))
            one = series[name]
            one.seconds.append(seconds)
            one.rates.append([sum(pair) / 2 for pair in around])
            one.worst.append([min(pair) for pair in around])
            before = after
            one.spent_s += time.perf_counter() - start
            if time.perf_counter() > deadline:
                break
        levels = levels_of(series.values(), usual, has_speeds)
        out_of_time = time.perf_counter() > deadline
        widths = {name: _half_width(series[name], levels, followed[name], stopping.min_samples) for name in active}
        for name, width in widths.items():
            series[name].stop_reason = _stop_reason(series[name], levels, followed[name], stopping, width, out_of_time)
            if series[name].stop_reason:
                active.remove(name)
        least_known = max(active or widths, key=lambda name: widths[name])
        progress(least_known, len(kernels) - len(active), len(kernels), widths[least_known])
    return series


def levels_of(run: Iterable[Series], usual: Sequence[float | None], has_speeds: Collection[int] = ()) -> list[Calm]:
    """Calm levels of every probe from all its samples of the run, of which there must be one."""
    runs = list(run)
    worst, mean = (np.asarray([row for one in runs for row in getattr(one, name)]) for name in ("worst", "rates"))
    # Every reading: the lesser of a pair and, from their mean, the other. The lesser alone would hide short calm spells.
    rates = np.concatenate([worst, 2 * mean - worst])
    return [Calm.of(rates[:, place], one, has_speeds=place in has_speeds) for place, one in enumerate(usual)]


def calm_samples(series: Series, levels: Sequence[Calm], follows: Follows) -> np.ndarray:
    """Mask of the samples that none of the probes that the kernel follows calls disturbed, nor of two speeds."""
    worst, mean = np.asarray(series.worst), np.asarray(series.rates)
    calm = np.ones(len(worst), bool)
    for place in follows.calm:
        bands = levels[place].band(worst[:, place], CALM_TOLERANCE)
        calm &= (bands >= 0) & (bands == levels[place].band(2 * mean[:, place] - worst[:, place], CALM_TOLERANCE))
    return calm


def _half_width(series: Series, levels: Sequence[Calm], follows: Follows, min_samples: int) -> float:
    """Relative half-width of the interval of the median ratio; infinite while there are too few calm samples."""
    quiet = calm_samples(series, levels, follows) if series.seconds else np.zeros(0, bool)
    if quiet.sum() < min_samples:
        return math.inf
    rates = 1.0 if follows.against is None else np.asarray(series.rates)[:, follows.against]
    ratios = 1 / (np.asarray(series.seconds) * rates)
    return median_interval(ratios[quiet]).relative_half_width


def _stop_reason(
    series: Series, levels: Sequence[Calm], follows: Follows, stopping: Stopping, width: float, out_of_time: bool
) -> str:
    count = len(series.seconds)
    quiet = calm_samples(series, levels, follows) if count else np.zeros(0, bool)
    if width <= stopping.precision:
        return f"precision reached: +-{width:.1%} of {stopping.precision:.1%} after {quiet.sum()} calm samples"
    if count >= stopping.max_samples:
        return f"sample limit reached: {count} samples, {quiet.sum()} of them calm"
    if out_of_time:
        return f"time budget of {stopping.budget_s:g} s spent: {count} samples, {quiet.sum()} of them calm"
    return ""
