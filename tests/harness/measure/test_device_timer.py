"""Profiles are read into the time of each call, and the timer is what was asked for or says why it is not."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.measure import device_timer
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.kernel_times import CALL, Event, ProfileError, covered_ns, device_seconds
from roofcast.harness.measure.prepare import prepare
from roofcast.harness.measure.timer import HOST, Timer, choose
from roofcast.kernels import check
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.registry import implementations

CACHE = CacheUpdate(kv_heads=2, context=16, head_dim=8, value_dim=8, kv_format="f32")


def event(name, start_ns, duration_ns, correlation=None):
    stats = [] if correlation is None else [("correlation_id", correlation), ("context_id", "$$1")]
    return SimpleNamespace(name=name, start_ns=start_ns, duration_ns=duration_ns, stats=stats)


def profile(host, device, *, stream="Stream #13(Compute)", plane="/device:GPU:0"):
    line = SimpleNamespace
    derived = line(name="XLA Modules", events=[event("jit_call", 0, 10_000)])
    return SimpleNamespace(
        planes=[
            SimpleNamespace(name="/host:CPU", lines=[line(name="python", events=host)]),
            SimpleNamespace(name=plane, lines=[line(name=stream, events=device), derived]),
        ]
    )


CALLS = [event(CALL, 1000, 500), event("flush", 1600, 300), event(CALL, 2000, 500)]
LAUNCHES = [event("cuLaunchKernel", 1100, 5, 7), event("cuLaunchKernel", 1650, 5, 8), event("cuGraphLaunch", 2100, 5, 9)]


def test_a_call_takes_what_its_kernels_take_and_nothing_else_counts():
    kernels = [event("gemv", 1200, 100, 7), event("add", 1350, 20, 7), event("flush", 1700, 90, 8)]
    kernels += [event("gemv", 2200, 110, 9), event("add", 2350, 30, 9)]
    assert device_seconds(profile(CALLS + LAUNCHES, kernels), 2) == pytest.approx([120e-9, 140e-9])


def test_the_launch_decides_where_the_clocks_of_host_and_device_differ():
    late = [event("gemv", 1700, 100, 7), event("gemv", 2700, 100, 9)]
    assert device_seconds(profile(CALLS + LAUNCHES, late), 2) == pytest.approx([100e-9, 100e-9])
    with pytest.raises(ProfileError, match="2 of 2 calls ran no kernel"):
        device_seconds(profile(CALLS, late), 2)


def test_without_launches_the_middle_of_a_kernel_decides():
    kernels = [event("gemv", 990, 100), event("flush", 1700, 90), event("gemv", 2420, 100)]
    assert device_seconds(profile(CALLS, kernels), 2) == pytest.approx([100e-9, 100e-9])


@pytest.mark.parametrize(
    ("device", "changes", "words"),
    [
        ([event("gemv", 1200, 100), event("add", 1300, 9), event("gemv", 2200, 100)], {}, "1 to 2 kernels"),
        ([event("gemv", 1200, 100)], {}, "1 of 2 calls"),
        ([event("gemv", 1200, 100)], {"plane": "/device:TPU:0"}, "no kernel of a GPU"),
        ([event("gemv", 1200, 100)], {"stream": "Steps"}, "no kernel of a GPU"),
    ],
)
def test_a_profile_that_has_lost_something_is_refused(device, changes, words):
    with pytest.raises(ProfileError, match=words):
        device_seconds(profile(CALLS, device, **changes), 2)


def test_a_lost_call_is_noticed():
    with pytest.raises(ProfileError, match="2 of 3 annotated calls"):
        device_seconds(profile(CALLS, []), 3)


@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20)), max_size=8))
def test_kernels_at_the_same_time_count_once(spans):
    moments = {moment for start, length in spans for moment in range(start, start + length)}
    assert covered_ns([Event(*one) for one in spans]) == len(moments)


def test_a_real_profile_of_the_cpu_read_as_that_of_a_gpu(monkeypatch):
    """The CPU's own operations stand in for kernels; annotations, times and statistics are JAX's."""
    seen = []

    def as_gpu(folder):
        real = read(folder)
        kept = [
            (event(one.name, one.start_ns, one.duration_ns), dict(one.stats))
            for plane in real.planes
            if plane.name == "/host:CPU"
            for line in plane.lines
            for one in line.events
        ]
        ran = [one for one, stats in kept if stats.get("hlo_module") == "jit_product"]
        spans = [one for one, _ in kept if one.name == CALL]
        seen.append((len(ran), sum(one.duration_ns for one in spans) / 1e9))
        return profile([*spans, *(event(one.name, one.start_ns, 1) for one in ran)], ran)

    def product(x):
        return x @ x

    read = device_timer._profile
    monkeypatch.setattr(device_timer, "_profile", as_gpu)
    x = jnp.ones((256, 256))
    program, other = jax.jit(product).lower(x).compile(), jax.jit(lambda x: x + 1)
    other(x)
    took = device_timer.seconds([lambda: jax.block_until_ready(program(x))] * 3, lambda: jax.block_until_ready(other(x)))
    ((kernels, spans_s),) = seen
    assert kernels >= 3
    assert kernels % 3 == 0
    assert 0 < took < spans_s


def test_a_profile_of_the_cpu_has_no_kernel_of_a_gpu():
    with pytest.raises(UsageError, match=r"timing\.timer must be host where .*: the profile holds no kernel of a GPU"):
        device_timer.device_timer()


def test_the_timer_is_what_was_asked_for_or_says_why_it_is_not():
    cupti = Timer("cupti", HOST.seconds, on_device=True)

    def broken():
        raise UsageError("no CUPTI")

    assert choose("auto", "gpu", lambda: cupti) == choose("device", "gpu", lambda: cupti) == cupti
    assert choose("auto", "cpu", broken) == choose("host", "gpu", broken) == HOST
    fallen = choose("auto", "gpu", broken)
    assert (fallen.name, fallen.on_device, fallen.note) == ("perf_counter", False, "no CUPTI")
    with pytest.raises(UsageError, match="no CUPTI"):
        choose("device", "gpu", broken)
    with pytest.raises(UsageError, match=r"timing\.timer must be auto or host on backend cpu"):
        choose("device", "cpu", broken)


@pytest.mark.parametrize(
    ("workload", "cache_bytes", "method", "residency"),
    [
        (Gemv(n=256, k=512, weight_format="f32"), 2**20, "direct calls over 8 copies", "cold"),
        (Gemv(n=256, k=512, weight_format="f32"), 2**26, "direct calls over 64 copies, the cache flushed before each", "cold"),
        (CACHE, 2**16, "direct calls, the cache flushed before each", "cold"),
        (CACHE, 2**16, "direct calls", "warm"),
    ],
)
def test_a_device_timer_calls_directly_and_keeps_cold_what_few_copies_would_not(workload, cache_bytes, method, residency):
    groups = []

    def seconds(calls, between):
        groups.append((len(calls), between is not None))
        return HOST.seconds(calls, between)

    one = next(one for one in implementations(workload.op) if one.name.startswith("xla."))
    packed = check.draw(workload, 0)
    kernel = prepare(
        workload,
        one,
        compile_call(workload, one, packed),
        packed,
        residency=residency,
        caches=Caches.rotated(cache_bytes),
        dispatch_s=1.0,
        timer=Timer("cupti", seconds, on_device=True),
    )
    assert (kernel.method, kernel.residency, kernel.timer) == (method, residency, "cupti")
    assert kernel.sample() > 0
    assert kernel.sample() > 0
    # Between calls that hand their buffers on, the next one's operands are laid out.
    assert groups == [(kernel.calls_per_sample, "flushed" in method or bool(workload.donated))] * 2
