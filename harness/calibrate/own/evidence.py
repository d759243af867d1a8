"""From the store's records to calls with the rates that were probed beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ....kernels.op import Workload
from ...host.host import Host
from ...store.figures import Ceilings
from ...store.record import Measurement
from ..evidence import best
from ..interval import Z_80
from ..kernels.effects import Kernel
from ..kernels.fit import Calls
from .physics import CALL, FORM, Rates, kernel_of, work_of

_Z_95 = 1.96
_UNKNOWN = 1.0
"""Standard deviation of a log time whose samples were too few for an interval."""


@dataclass(frozen=True)
class Conditions:
    """What a machine could do at some moment.

    Attributes:
        read_gbs: plain read from memory.
        gflops: multiply-adds outside a matrix product.
        cache_bytes, cache_gbs: size and plain read per cache level, smallest first; a level is never faster than one inside.
        dispatch_us: an empty compiled call.
    """

    read_gbs: float
    gflops: float
    cache_bytes: tuple[float, ...]
    cache_gbs: tuple[float, ...]
    dispatch_us: float

    @classmethod
    def of(cls, read_gbs: float, gflops: float, ceilings: Ceilings, host: Host) -> Conditions:
        """The ceilings of a run, at the rates of probes at some moment of it; caches keep step with the cores."""
        ends = ceilings.cache_end_bytes or host.cache_bytes
        levels = sorted((ends[name], gbs) for name, gbs in ceilings.cache_read_gbs.items() if name in ends)
        pace = gflops / ceilings.multiply_add_gflops
        falling = np.minimum.accumulate([gbs * pace for _, gbs in levels]).tolist() if levels else []
        return cls(read_gbs, gflops, tuple(size for size, _ in levels), tuple(falling), ceilings.dispatch_us)

    def gbs_of(self, footprint: float) -> float:
        """Plain read of what is touched again and again and takes so many bytes."""
        fitting = [gbs for size, gbs in zip(self.cache_bytes, self.cache_gbs, strict=True) if footprint <= size]
        # A cache that reads no faster than memory was disturbed when it was measured.
        return max(fitting[0], self.read_gbs) if fitting else self.read_gbs


@dataclass(frozen=True)
class Rows:
    """Measured calls.

    Attributes:
        records: one per row.
        calls: as the fit takes them.
        latency_us: their times.
        noise: standard deviation of each log time.
    """

    records: tuple[Measurement, ...]
    calls: Calls
    latency_us: Float[np.ndarray, "rows"]
    noise: Float[np.ndarray, "rows"]


def rows_of(records: Sequence[Measurement]) -> Rows:
    """The fastest of our own code for each call of each run, by the code that measured its kind of kernel last."""
    runs: dict[str, list[Measurement]] = {}
    for one in records:
        runs.setdefault(one.run.run_id, []).append(one)
    found = _by_newest_code([one for run in runs.values() for one in best(run).values()])
    conditions = [beside(one) for one in found]
    calls = calls_of(
        [one.subject.workload for one in found],
        conditions,
        [one.timing.pool_bytes if one.timing else 0.0 for one in found],
        [_dispatches(one) for one in found],
    )
    latency_us = np.array([one.statistics.latency_us for one in found if one.statistics])
    return Rows(tuple(found), calls, latency_us, np.array([_noise(one) for one in found]))


def calls_of(
    workloads: Sequence[Workload], conditions: Sequence[Conditions], footprints: Sequence[float], dispatches: Sequence[float]
) -> Calls:
    """Calls as the fit takes them.

    Args:
        workloads: what is called.
        conditions: beside each.
        footprints: bytes that are touched until a call's weights are touched again.
        dispatches: of a program, that each time holds.
    """
    work = work_of(workloads, dispatches)
    rates = Rates(
        np.array([one.gbs_of(size) for one, size in zip(conditions, footprints, strict=True)]),
        np.array([one.gbs_of(size) for one, size in zip(conditions, work.hot.tolist(), strict=True)]),
        np.array([one.gflops for one in conditions]),
        np.array([one.dispatch_us for one in conditions]),
    )
    kernels = [kernel_of(one) for one in workloads]
    places: Mapping[Kernel, int] = {kernel: place for place, kernel in enumerate(dict.fromkeys(kernels))}
    return Calls(CALL, work, rates, tuple(places), np.array([places[one] for one in kernels], dtype=int), FORM)


def beside(record: Measurement) -> Conditions:
    """What the machine could do beside the very samples that a record's statistics rest on."""
    statistics, ceilings, timing = record.statistics, record.ceilings, record.timing
    if statistics is None or ceilings is None or timing is None:
        raise ValueError(f"{record.subject.label} has no time: its status is {record.outcome.status}")
    used = np.array(timing.calm) if statistics.disturbance == 0 else np.ones(len(timing.calm), bool)
    read_gbs, gflops = (np.median(np.array(rates)[used]) for rates in (timing.read_probe_gbs, timing.multiply_add_probe_gflops))
    return Conditions.of(float(read_gbs), float(gflops), ceilings, record.host)


def usual(records: Sequence[Measurement]) -> tuple[Conditions, float]:
    """What a machine can do usually, the median of the probes beside its calm samples, and how far that drifts.

    Args:
        records: with times, at least one.

    Returns:
        The conditions, and the standard deviation of the logarithm of the memory's speed.
    """
    timings = [one.timing for one in records if one.timing is not None]
    # What is calm beside a kernel that follows its core need not be to the memory.
    timings = [one for one in timings if one.follows == "machine"] or timings
    calm = np.concatenate([one.calm for one in timings]).astype(bool)
    used = calm if calm.any() else ~calm
    read, gflops = (
        np.concatenate([getattr(one, name) for one in timings])[used]
        for name in ("read_probe_gbs", "multiply_add_probe_gflops")
    )
    newest = max((one for one in records if one.ceilings is not None), key=lambda one: one.started_at)
    if newest.ceilings is None:
        raise ValueError(f"{newest.subject.label} has no ceilings")
    low, high = np.quantile(read, (0.1, 0.9))
    drift = float(np.log(high / low)) / (2 * Z_80)
    return Conditions.of(float(np.median(read)), float(np.median(gflops)), newest.ceilings, newest.host), drift


def _by_newest_code(records: Iterable[Measurement]) -> list[Measurement]:
    """Of each kind of kernel only what the code that measured it last has measured."""
    kinds: dict[Kernel, list[Measurement]] = {}
    for one in records:
        kinds.setdefault(kernel_of(one.subject.workload), []).append(one)
    found = []
    for members in kinds.values():
        newest = max(members, key=lambda one: one.started_at)
        found += [one for one in members if _code(one) == _code(newest)]
    return found


def _code(record: Measurement) -> tuple[str, str]:
    return record.run.roofcast_version, record.run.git_commit


def _dispatches(record: Measurement) -> float:
    """Programs that one call's time holds: a whole one where calls are direct, its share of one where they are looped."""
    timing = record.timing
    if timing is None:
        return 0.0
    return 1.0 if timing.method.startswith("direct") else 1 / timing.calls_per_sample


def _noise(record: Measurement) -> float:
    statistics = record.statistics
    if statistics is None or not 0 < statistics.latency_low_us <= statistics.latency_high_us < np.inf:
        return _UNKNOWN
    width = np.log(statistics.latency_high_us / statistics.latency_low_us) / (2 * _Z_95)
    return float(np.hypot(width, statistics.disturbance))
