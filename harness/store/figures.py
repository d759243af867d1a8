"""The figures of a measurement: what it cost, what the compiler made of it, its samples, and what they amount to."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ...kernels.op import Cost
from ..files.columns import Columns

Bound = Literal["memory", "compute", "latency"]
Residency = Literal["cold", "warm"]
Followed = Literal["machine", "core"]
"""What changes a call's time: how fast memory and all cores are, or the one core that it runs on."""


@dataclass(frozen=True, kw_only=True)
class Work(Columns):
    """What a call must do at the least, by the op's own arithmetic. See `kernels.op.Cost`.

    Attributes:
        flops: floating-point operations; a multiply-add counts two.
        bytes_read: bytes of the operands, each read once.
        bytes_written: bytes of the results, each written once.
        streamed_bytes: bytes that come from memory in every decode step.
    """

    flops: float
    bytes_read: float
    bytes_written: float
    streamed_bytes: float

    @classmethod
    def of(cls, cost: Cost) -> Work:
        """The totals of a cost."""
        return cls(
            flops=cost.flops,
            bytes_read=sum(cost.reads.values()),
            bytes_written=sum(cost.writes.values()),
            streamed_bytes=cost.streamed_bytes,
        )


@dataclass(frozen=True, kw_only=True)
class Compilation(Columns):
    """What XLA made of the call, and what it says about it; None where it says nothing.

    Attributes:
        lower_s: seconds of tracing and lowering.
        compile_s: seconds of compiling.
        xla_flops, xla_bytes: `cost_analysis()` of the compiled call, a static count.
        argument_bytes, output_bytes, temporary_bytes, alias_bytes, peak_bytes: `memory_analysis()`.
        cost_note: why XLA's counts differ from the op's, in words; "" where they agree.
        compile_cache: `cold` if the program was compiled, `warm` if it was loaded from the cache on disk and `compile_s` is
            the time of that, "" where there was no cache.
        programs_s: seconds of lowering and compiling all that the measurement runs, the timed loop included.
    """

    lower_s: float
    compile_s: float
    xla_flops: float | None = None
    xla_bytes: float | None = None
    argument_bytes: int | None = None
    output_bytes: int | None = None
    temporary_bytes: int | None = None
    alias_bytes: int | None = None
    peak_bytes: int | None = None
    cost_note: str = ""
    compile_cache: str = ""
    programs_s: float = 0.0


@dataclass(frozen=True, kw_only=True)
class Timing(Columns):
    """Every sample in the order it was taken, with the probes beside it. Nothing is dropped.

    Attributes:
        timer: the clock: `perf_counter`, the host's with dispatch; `cupti`, the durations of a call's kernels.
        method: how a sample is taken, in words (`direct calls over 9 copies`).
        residency: `cold` where streamed operands come from memory, `warm` where they may be in cache.
        pool_bytes: bytes that are read until a call reads the same weights again: all copies, and what empties the caches.
        calls_per_sample: calls in one sample.
        samples_us: microseconds per call.
        read_probe_gbs: GB/s of the memory-read probe around each sample.
        multiply_add_probe_gflops: GFLOP/s of the arithmetic probe around each sample.
        core_probe_turns_per_us: turns per microsecond of the probe of the core that called, right before and after each sample;
            empty where another device computes, and in records from before there was such a probe.
        calm: per sample, whether none of the probes of what the call's time follows called it disturbed.
        follows: what that is.
        stop_reason: why sampling ended, in words.
        timer_note: why a GPU's kernels were timed by the host all the same, "" otherwise.
        device_before, device_after: a GPU's clocks, power, temperature and bits of what slows it
            (`harness.host.nvidia.GpuState`), before the run and when this was recorded; empty where nothing tells them.
        sampling_s: seconds that the samples and the probes beside them took.
        overhead_us: what each of those times holds beside the program, microseconds: the clock's reading and this harness's own
            Python; 0 where the device times, and in records that do not say.

    Raises:
        ValueError: if a sample is not a positive time, or the lists are not equally long.
    """

    timer: str
    method: str
    residency: Residency
    pool_bytes: float
    calls_per_sample: int
    samples_us: tuple[float, ...]
    read_probe_gbs: tuple[float, ...]
    multiply_add_probe_gflops: tuple[float, ...]
    calm: tuple[bool, ...]
    stop_reason: str
    timer_note: str = ""
    device_before: Mapping[str, float] = field(default_factory=dict)
    device_after: Mapping[str, float] = field(default_factory=dict)
    sampling_s: float = 0.0
    core_probe_turns_per_us: tuple[float, ...] = ()
    follows: Followed = "machine"
    overhead_us: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("read_probe_gbs", "multiply_add_probe_gflops", "calm"):
            self._one_per_sample(name)
        if self.core_probe_turns_per_us:
            self._one_per_sample("core_probe_turns_per_us")
        for sample in self.samples_us:
            if not 0 < sample < math.inf:
                raise ValueError(f"samples_us must be positive and finite; got {sample!r}")

    def _one_per_sample(self, name: str) -> None:
        if len(getattr(self, name)) != len(self.samples_us):
            raise ValueError(f"{name} must have one value per sample, {len(self.samples_us)}; got {len(getattr(self, name))}")


@dataclass(frozen=True, kw_only=True)
class Statistics(Columns):
    """What the samples say. Low and high are the ends of a 95 % bootstrap interval, infinite where there is none.

    Attributes:
        latency_us, latency_low_us, latency_high_us: median time per call, microseconds.
        bandwidth_gbs: bytes of the call over `latency_us`, decimal GB/s.
        fraction_of_ceiling, fraction_low, fraction_high: what the call reaches of what binds it, paired per sample; None where
            it cannot be told in which level of the memory its operands lie.
        bound: `memory`, `compute`, or `latency` where the floor explains too little of the time.
        floor_us: the roofline's least time on the ceilings measured here, microseconds.
        disturbance: share of the machine, or of the core, that was gone in the median sample; 0 when calm.
        precision_reached: half-width of the interval on the fraction, relative to it.
        level: of the memory, that the streamed operands came from: `memory` or a cache's name; "" where that cannot be told,
            and in records that do not say.

    Raises:
        ValueError: if `latency_us` is not a positive time.
    """

    latency_us: float
    latency_low_us: float
    latency_high_us: float
    bandwidth_gbs: float
    fraction_of_ceiling: float | None
    fraction_low: float | None
    fraction_high: float | None
    bound: Bound
    floor_us: float
    disturbance: float
    precision_reached: float
    level: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.latency_us < math.inf:
            raise ValueError(f"latency_us must be positive and finite; got {self.latency_us!r}")


@dataclass(frozen=True, kw_only=True)
class Ceilings(Columns):
    """What this machine can do at the most, measured by the same probes as go on beside the kernels.

    Attributes:
        probed_at: ISO 8601 time in UTC of these figures: of this run or, in a sweep, of a job of it that ran shortly before on
            this host; "" in records that do not say, which are of their own run.
        read_gbs, copy_gbs, triad_gbs: memory bandwidth, decimal GB/s, written and read bytes counted once each.
        read_slow_gbs: the lower of two speeds that the memory had by turns meanwhile; None where it had one.
        cache_read_gbs: read bandwidth per cache level (`L2`), decimal GB/s, of those that are told from the next by their rate.
        cache_end_bytes: the largest working set that was read at that speed, per level; what the machine tells is the host's
            `cache_bytes`. Empty in records from before it was measured.
        working_set_bytes: sizes that were read again and again, smallest first (`measure.mountain`).
        working_set_gbs, working_set_low_gbs, working_set_high_gbs: median rate of each, its 10th and its 90th percentile.
        turnover_bytes: of reading between two uses of the same bytes, which was seen to leave nothing of them in a cache; None
            where nothing was.
        multiply_add_gflops: float32 multiply-adds outside a matrix product, GFLOP/s.
        matmul_gflops: dense matrix product per number format, GFLOP/s.
        dispatch_us: an empty compiled call, microseconds: from Python and back, or its kernel alone where the device times.
        core_turns_per_us: turns per microsecond of a small loop on one core (`measure.core`); None where another device
            computes, and in records from before there was such a probe.
    """

    read_gbs: float
    copy_gbs: float
    triad_gbs: float
    cache_read_gbs: Mapping[str, float] = field(default_factory=dict)
    multiply_add_gflops: float
    matmul_gflops: Mapping[str, float] = field(default_factory=dict)
    dispatch_us: float
    probed_at: str = ""
    core_turns_per_us: float | None = None
    read_slow_gbs: float | None = None
    cache_end_bytes: Mapping[str, float] = field(default_factory=dict)
    working_set_bytes: tuple[float, ...] = ()
    working_set_gbs: tuple[float, ...] = ()
    working_set_low_gbs: tuple[float, ...] = ()
    working_set_high_gbs: tuple[float, ...] = ()
    turnover_bytes: float | None = None
