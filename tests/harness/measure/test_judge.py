"""What samples say beside their probes: floors, calm, and what a kernel's time follows."""

import zlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
from roofcast.harness.measure import judge
from roofcast.harness.measure.cache_levels import Level, Levels
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.ceilings import Limits
from roofcast.harness.measure.prepare import Kernel
from roofcast.harness.measure.probes import Probe
from roofcast.harness.measure.result import Result
from roofcast.harness.measure.rounds import Series
from roofcast.harness.measure.statistics import Calm
from roofcast.harness.store.figures import Ceilings
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.registry import implementations

READ_GBS, PEAK_GFLOPS = 2000.0, 1e5
CEILINGS = Ceilings(
    read_gbs=READ_GBS,
    copy_gbs=15,
    triad_gbs=15,
    multiply_add_gflops=PEAK_GFLOPS,
    matmul_gflops={"f32": PEAK_GFLOPS},
    dispatch_us=10,
)
LEVELS = Levels((Level("L1", 2**15, 4e4), Level("L2", 2**20, 1e4)), READ_GBS, 2**22)
LIMITS = Limits(
    CEILINGS, LEVELS, Caches.rotated(2**20), Probe("read", lambda: READ_GBS), Probe("multiply_add", lambda: PEAK_GFLOPS)
)
CALM = [Calm(READ_GBS), Calm(PEAK_GFLOPS)]
GEMV = Gemv(n=256, k=512, weight_format="f32")


def ready() -> Result:
    one = implementations("gemv")[0]
    kernel = Kernel(GEMV, one, None, "direct calls", "cold", pool_bytes=0, calls_per_sample=1, sample=lambda: 1e-6)
    return Result(GEMV, one.name, "ok", kernel=kernel)


def judged(seconds: list[float], rates: list[list[float]]) -> Result:
    series = Series(seconds, rates, rates, "test")
    return judge.judged(ready(), series, LIMITS, CALM, np.array([READ_GBS, PEAK_GFLOPS]), 3)


FLOOR_S = 256 * 512 * 4 / READ_GBS / 1e9


def test_samples_below_the_floor_are_refused_with_the_reason() -> None:
    result = judged([FLOOR_S / 2] * 5, [[READ_GBS, PEAK_GFLOPS]] * 5)
    assert result.status == "refused"
    assert "is below the least possible" in result.reason
    assert result.series is not None
    assert len(result.series.seconds) == 5


def test_a_ratio_is_paired_with_the_probe_beside_it() -> None:
    # The machine halves its speed for two of five samples: every ratio is 0.5 all the same.
    slow = [[READ_GBS / 2, PEAK_GFLOPS / 2]] * 2
    result = judged([2 * FLOOR_S] * 3 + [4 * FLOOR_S] * 2, [[READ_GBS, PEAK_GFLOPS]] * 3 + slow)
    assert result.timed is not None
    assert result.timed.ratio.point == pytest.approx(0.5)
    assert result.timed.latency_us.point == pytest.approx(2e6 * FLOOR_S)
    assert list(result.timed.calm) == [True] * 3 + [False] * 2
    assert result.timed.disturbance == 0


def test_too_few_calm_samples_are_marked_with_how_much_was_gone() -> None:
    result = judged([4 * FLOOR_S] * 5, [[READ_GBS, PEAK_GFLOPS / 2]] * 5)
    assert result.timed is not None
    assert result.timed.disturbance == pytest.approx(0.5)


def test_what_waits_for_its_core_is_judged_by_the_core_beside_it() -> None:
    # The floor of 0.26 us is far less than an empty call; memory at a tenth of its speed changes nothing.
    limits = replace(LIMITS, core=Probe("core", lambda: 8.0))
    fast, slow = [READ_GBS / 10, PEAK_GFLOPS, 8.0], [READ_GBS, PEAK_GFLOPS, 4.0]
    rates, seconds = [fast] * 3 + [slow] * 2, [1e-6] * 3 + [2e-6] * 2
    fastest = np.array([READ_GBS, PEAK_GFLOPS, 8.0])
    levels = [Calm(one) for one in fastest]
    result = judge.judged(ready(), Series(seconds, rates, rates, "test"), limits, levels, fastest, 3, "core")
    assert result.timed is not None
    assert (result.timed.bound, result.timed.follows) == ("latency", "core")
    assert list(result.timed.calm) == [True] * 3 + [False] * 2
    assert result.timed.latency_us.point == pytest.approx(1.0)
    assert result.timed.ratio.point == pytest.approx(1e6 * FLOOR_S)
    # Where no sample is calm, all of them say the same of the kernel.
    never = judge.judged(ready(), Series([2e-6] * 5, [slow] * 5, [slow] * 5, "test"), limits, levels, fastest, 3, "core")
    assert never.timed is not None
    assert never.timed.ratio.point == pytest.approx(1e6 * FLOOR_S)
    assert never.timed.disturbance == pytest.approx(0.5)


def test_only_what_one_core_computes_and_nothing_else_binds_follows_it() -> None:
    def one_thread() -> float:
        return sum(range(10**5)) * 0 + 1e-6

    def many_threads() -> float:
        with ThreadPoolExecutor(2) as pool:
            # Compressing lets go of Python's lock.
            list(pool.map(zlib.compress, [bytes(10**7)] * 2))
        return 1e-6

    small = ready()
    assert small.kernel is not None
    with_core = replace(LIMITS, core=Probe("core", lambda: 8.0))
    alone, not_alone = (replace(small, kernel=replace(small.kernel, sample=one)) for one in (one_thread, many_threads))
    assert judge.followed(alone, with_core) == "core"
    assert judge.followed(not_alone, with_core) == "machine"
    assert judge.followed(alone, LIMITS) == "machine"
    slow_memory = replace(with_core, ceilings=replace(CEILINGS, read_gbs=1.0))
    assert judge.followed(alone, slow_memory) == "machine"
