"""Between two readings of the clock stands the program and next to nothing else: Python's calls there are counted.

A property that was worked out in there once added 65 ms to every whole step, and no figure told.
"""

import statistics
import sys
import time
from collections.abc import Iterator

import pytest
from roofcast.harness.gate import sampling
from roofcast.harness.measure import timer
from roofcast.harness.measure.caches import Caches, Emptier
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.prepare import prepare, prepare_peer
from roofcast.harness.measure.timer import HOST, Timer
from roofcast.kernels import check
from roofcast.kernels.op import Implementation, Workload
from roofcast.kernels.registry import op_named, op_names, supported

MOST = 8
"""Python frames that one call may take: its own, JAX's waiting for the results, and what JAX has around a program."""
CACHES = {"rotated": Caches.rotated(2**12), "emptied": Caches.emptied(2**12, 1.0, Emptier(lambda: 1.0, 2**20))}


class Counter:
    """Counts the functions that Python enters between an odd reading of the clock and the next."""

    def __init__(self) -> None:
        self.entered: list[int] = []
        self._is_timing = False

    def perf_counter(self) -> float:
        sys.setprofile(None)
        self._is_timing = not self._is_timing
        if self._is_timing:
            self.entered.append(0)
            sys.setprofile(self._count)
        return time.perf_counter()

    def _count(self, frame, event, argument) -> None:
        if event == "call" and frame.f_code is not Counter.perf_counter.__code__:
            self.entered[-1] += 1


@pytest.fixture
def counter(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter]:
    counting = Counter()
    monkeypatch.setattr(timer, "time", counting)
    monkeypatch.setattr(sampling, "time", counting)
    yield counting
    sys.setprofile(None)


def small(op: str, peers: bool = False) -> tuple[Workload, Implementation] | None:
    """A small call of an op with code that runs here, None where there is none."""
    for workload in sorted(op_named(op).examples(), key=lambda one: sum(t.nbytes for t in one.operands().values())):
        for one, refusal in supported(workload, "cpu", peers=peers):
            if refusal is None:
                return workload, one
    return None


@pytest.mark.parametrize("op", op_names())
def test_a_sample_of_every_op_holds_its_program_alone(op: str, counter: Counter) -> None:
    found = small(op)
    assert found is not None
    workload, one = found
    packed = check.draw(workload, 0)
    compiled = compile_call(workload, one, packed)
    device = Timer("cupti", HOST.seconds, on_device=True)
    ways = [
        ("direct", "cold", "rotated", 0.0, HOST),
        ("looped", "cold", "emptied", 2e-4, HOST),
        ("direct", "warm", "emptied", 0.0, HOST),
        ("device", "cold", "rotated", 0.0, device),
    ]
    for _, residency, caches, dispatch_s, clock in ways:
        kernel = prepare(
            workload, one, compiled, packed, residency=residency, caches=CACHES[caches], dispatch_s=dispatch_s, calls=None,
            timer=clock,
        )  # fmt: skip
        counter.entered.clear()
        for _ in range(3):
            kernel.sample()
        # A region holds one call, or all of a sample. What Python frees may call something in any one of them.
        calls = 1 if len(counter.entered) >= 3 * kernel.calls_per_sample else kernel.calls_per_sample
        assert 0 < statistics.median(counter.entered) <= MOST * calls


@pytest.mark.parametrize("op", ["gemv", "attention", "step"])
def test_a_sample_of_another_library_holds_its_call_alone(op: str, counter: Counter) -> None:
    if (found := small(op, peers=True)) is None:
        pytest.skip("no other library is installed that computes it")
    workload, one = found
    packed = check.draw(workload, 0)
    call = one.function(workload, **packed)
    kernel = prepare_peer(workload, one, call, packed, residency="cold", caches=CACHES["rotated"])
    counter.entered.clear()
    kernel.sample()
    [entered] = counter.entered
    assert 0 < entered <= MOST * kernel.calls_per_sample


def test_what_a_users_test_benchmarks_is_timed_alone(counter: Counter) -> None:
    counter.entered.clear()
    sampling.sample(lambda: None, 10)
    assert max(counter.entered) <= 2 * 10 + 4


def test_a_property_that_is_worked_out_there_is_found(counter: Counter) -> None:
    def derived(count: int) -> int:
        return count and derived(count - 1)

    counter.entered.clear()
    HOST.seconds([lambda: derived(50)], None)
    assert counter.entered[0] > MOST
