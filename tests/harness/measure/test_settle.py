"""What was planned while others computed is planned again, and nothing else is lost by it."""

import gc
import itertools
import time
from collections.abc import Iterator
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import pytest
from roofcast.harness.measure import prove, session, settle, timer
from roofcast.harness.measure.budget import Budget
from roofcast.harness.measure.cache_levels import Levels
from roofcast.harness.measure.caches import SAMPLE_S, Caches
from roofcast.harness.measure.ceilings import Limits
from roofcast.harness.measure.looped import LoopedCalls
from roofcast.harness.measure.prepare import Kernel
from roofcast.harness.measure.probes import Probe
from roofcast.harness.measure.result import Machine, Result
from roofcast.harness.measure.rounds import Stopping
from roofcast.harness.store.figures import Ceilings
from roofcast.kernels import check
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.op import Implementation, Workload
from roofcast.kernels.registry import implementations

SMALL = Gemv(n=8, k=64, weight_format="f32")
LARGE = Gemv(n=64, k=64, weight_format="f32")
STOPPING = Stopping(precision=0.5, min_samples=3, max_samples=5, budget_s=5.0)
SPEEDS = Ceilings(read_gbs=1e6, copy_gbs=1e6, triad_gbs=1e6, multiply_add_gflops=1e9, dispatch_us=100.0)
MACHINE = Machine(
    backend="cpu",
    budget=Budget(1e9, 5e8),
    limits=Limits(
        SPEEDS, Levels((), 1e6, 0.0), Caches.rotated(2**10), Probe("read", lambda: 1e6), Probe("multiply_add", lambda: 1e9)
    ),
)


def right(workload: Gemv, weight: Any, x: Any) -> Any:
    return weight @ x


CODE = Implementation("test.code", "gemv", right, ("cpu",), 0, lambda workload: None)


def made(workload: Workload = SMALL, one: Implementation = CODE) -> Result:
    return prove.ready(workload, one, MACHINE, "warm", lambda call: check.draw(call, 0))


def kernel_of(result: Result) -> Kernel:
    assert result.kernel is not None
    return result.kernel


@pytest.mark.parametrize("method", ["compiled loop", "direct calls"])
def test_what_was_prepared_on_a_busy_machine_is_settled_on_a_calm_one(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever computes beside a run makes it seem long enough for a sample, or too long for a loop."""
    with monkeypatch.context() as busy:
        if method == "direct calls":
            late_s = itertools.count()
            busy.setattr(timer, "time", SimpleNamespace(perf_counter=lambda: time.perf_counter() + next(late_s)))
        else:
            busy.setattr(LoopedCalls, "last", lambda self, *given: None)
        results = {"it": made()}
    hasty = kernel_of(results["it"])
    assert hasty.method.startswith(method)
    assert hasty.calls_per_sample == 1
    compiled_s = results["it"].programs_s
    settle.settle(results, "it")
    settled = kernel_of(results["it"])
    assert settled.method.startswith("compiled loop")
    assert settled.calls_per_sample > 20
    assert results["it"].programs_s > compiled_s


def test_what_was_prepared_on_a_calm_machine_stays() -> None:
    results = {"it": made()}
    kernel = kernel_of(results["it"])
    # Samples of any machine's, however slow.
    long = itertools.cycle([SAMPLE_S])
    results["it"] = replace(results["it"], kernel=replace(kernel, sample=lambda: next(long) / kernel.calls_per_sample))
    before = results["it"]
    settle.settle(results, "it")
    assert results["it"] is before


def hasty(again: Any) -> Any:
    """Makes everything ready by one call per sample, and again as told."""

    def ready(*given: Any, **how: Any) -> Result:
        result = made_by(*given, **how)
        short = replace(kernel_of(result), sample=lambda: 1e-6, calls_per_sample=1)
        return replace(result, kernel=replace(short, again=lambda: again(given[0], kernel_of(result))))

    made_by = prove.ready
    return ready


def run(monkeypatch: pytest.MonkeyPatch, again: Any) -> dict[Workload, Result]:
    monkeypatch.setattr(session, "ready", hasty(again))
    found = session.run([(SMALL, CODE), (LARGE, CODE)], MACHINE, STOPPING, residency="warm", seed=0)
    return {result.workload: result for result in found}


def test_a_session_takes_its_samples_of_what_was_settled(monkeypatch: pytest.MonkeyPatch) -> None:
    results = run(monkeypatch, lambda workload, kernel: kernel)
    for result in results.values():
        assert result.status == "ok"
        assert kernel_of(result).calls_per_sample > 1
        assert result.series is not None
        assert result.series.stop_reason


def test_what_cannot_be_settled_fails_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    def again(workload: Workload, kernel: Kernel) -> Kernel:
        if workload == SMALL:
            raise MemoryError("no room\nat all")
        return kernel

    results = run(monkeypatch, again)
    assert (results[SMALL].status, results[SMALL].reason) == ("failed", "MemoryError: no room")
    assert results[LARGE].status == "ok"


@pytest.fixture
def lived() -> Iterator[Any]:
    """Bytes of live arrays beyond those that were there."""

    def count() -> int:
        gc.collect()
        return sum(one.nbytes for one in jax.live_arrays())

    before = count()
    yield lambda: count() - before
    gc.collect()


def test_no_operand_is_kept_twice_for_it(lived: Any) -> None:
    """What a call donates is a copy; the drawn one must not live on for a kernel that may never be made again."""
    cache = CacheUpdate(kv_heads=8, context=1024, head_dim=64, value_dim=64, kv_format="f32")
    (portable,) = [one for one in implementations("cache") if one.name.startswith("xla")]
    result = made(cache, portable)
    assert result.status == "ok", result.reason
    assert kernel_of(result).again is not None
    assert lived() < 1.5 * kernel_of(result).pool_bytes


def test_the_old_operands_are_gone_before_the_new_are_made(lived: Any) -> None:
    results = {"it": made(LARGE)}
    held = lived()
    seen: list[int] = []
    kernel = kernel_of(results["it"])

    def again() -> Kernel:
        seen.append(lived())
        return made_again()

    made_again = kernel.again
    assert made_again is not None
    results["it"] = replace(results["it"], kernel=replace(kernel, calls_per_sample=1, again=again))
    del kernel
    settle.settle(results, "it")
    assert seen
    assert seen[0] < held
    assert kernel_of(results["it"]).calls_per_sample > 1
