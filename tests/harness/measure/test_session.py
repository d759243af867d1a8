"""From a workload to a verdict: wrong kernels get no time, impossible samples are refused, the rest is timed."""

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import pytest
from roofcast.harness.measure import prove, session
from roofcast.harness.measure.budget import Budget
from roofcast.harness.measure.cache_levels import Level, Levels
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.ceilings import Limits
from roofcast.harness.measure.choice import chosen, chosen_peers
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.prepare import prepare
from roofcast.harness.measure.probes import Probe
from roofcast.harness.measure.prove import PEER_TOLERANCE, tolerance
from roofcast.harness.measure.result import Machine, Result
from roofcast.harness.measure.rounds import Stopping
from roofcast.harness.store.figures import Ceilings
from roofcast.kernels import check
from roofcast.kernels.activation import Activation
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.embedding import Embedding
from roofcast.kernels.experts import Experts
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.norm import Norm
from roofcast.kernels.op import Implementation, Workload
from roofcast.kernels.registry import implementations
from roofcast.kernels.step import DecodeStep

READ_GBS, PEAK_GFLOPS = 2000.0, 1e5
"""More than any machine has, so that no real sample here is impossible."""
CEILINGS = Ceilings(
    read_gbs=READ_GBS,
    copy_gbs=15,
    triad_gbs=15,
    multiply_add_gflops=PEAK_GFLOPS,
    matmul_gflops={"f32": PEAK_GFLOPS},
    dispatch_us=10,
)
LEVELS = Levels((Level("L2", 2**20, 2 * READ_GBS),), READ_GBS, 2**22)
CACHES = Caches.rotated(2**20)
LIMITS = Limits(CEILINGS, LEVELS, CACHES, Probe("read", lambda: READ_GBS), Probe("multiply_add", lambda: PEAK_GFLOPS))
MACHINE = Machine(backend="cpu", budget=Budget(4e9, 2e9), limits=LIMITS)
STOPPING = Stopping(precision=0.5, min_samples=3, max_samples=6, budget_s=5)
GEMV = Gemv(n=256, k=512, weight_format="f32")


def code(function: Callable[..., Any], op: str = "gemv") -> Implementation:
    return Implementation("test.code", op, function, ("cpu",), 0, lambda workload: None)


def right(workload: Workload, weight: Any, x: Any) -> Any:
    return weight @ x


def measured(workload: Workload, one: Implementation, machine: Machine = MACHINE) -> Result:
    (result,) = session.run([(workload, one)], machine, STOPPING, residency="cold", seed=0)
    return result


def test_a_right_kernel_is_timed_with_its_probes() -> None:
    result = measured(GEMV, code(right))
    assert result.status == "ok"
    assert result.timed is not None
    assert result.series is not None
    assert len(result.series.seconds) == len(result.calm) >= 3
    assert result.series.stop_reason
    assert 0 < result.timed.latency_us.low <= result.timed.latency_us.point <= result.timed.latency_us.high
    assert result.timed.floor_us == pytest.approx(256 * 512 * 4 / READ_GBS / 1e3)


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (lambda workload, weight, x: (weight @ x).at[7].add(1.0), "against the float64 reference"),
        (lambda workload, weight, x: jnp.full(256, jnp.nan), "against the float64 reference"),
        (lambda workload, weight, x: (weight @ x)[:-1], "against the float64 reference"),
        (lambda workload, weight, x: (weight @ x).astype(jnp.bfloat16), "against the float64 reference"),
    ],
)
def test_a_wrong_kernel_has_no_time(function: Callable[..., Any], words: str) -> None:
    result = measured(GEMV, code(function))
    assert result.status == "wrong"
    assert words in result.reason
    assert result.timed is None
    assert result.series is None


def test_a_kernel_that_does_not_compile_fails_alone() -> None:
    def broken(workload: Workload, weight: Any, x: Any) -> Any:
        raise TypeError("no such\nthing")

    def silent(workload: Workload, weight: Any, x: Any) -> Any:
        raise NotImplementedError

    assert measured(GEMV, code(silent)).reason.startswith("NotImplementedError")
    calls = [(GEMV, code(broken)), (GEMV, replace(code(right), name="test.right"))]
    results = {one.implementation: one for one in session.run(calls, MACHINE, STOPPING, residency="cold", seed=0)}
    assert results["test.code"].status == "failed"
    assert results["test.code"].reason == "TypeError: no such"
    assert results["test.right"].status == "ok"


def test_operands_beyond_the_free_memory_are_refused_before_they_are_made() -> None:
    huge = Gemv(n=10**6, k=10**6, weight_format="bf16")
    result = measured(huge, code(right))
    assert result.status == "refused"
    assert "it needs 2e+03 GB beside the 0 GB of the probes, more than 80% of the 4 GB that are free" in result.reason


def test_each_part_of_a_measurement_holds_what_it_uses_and_says_what_it_took() -> None:
    held: list[str] = []

    def holding(what: str) -> Callable[[], AbstractContextManager[None]]:
        @contextmanager
        def hold() -> Iterator[None]:
            held.append(what)
            yield
            held.append(f"end of {what}")

        return hold

    def drawn(workload: Workload, seed: int) -> Any:
        assert "drawing" in held
        assert "end of drawing" not in held
        return check.draw(workload, seed)

    def compiled(workload: Workload, weight: Any, x: Any) -> Any:
        # What is planned again is compiled while the device is held alone.
        taken = [held.count(what) - held.count(f"end of {what}") for what in ("device", "measuring")]
        assert sum(taken) == 1
        return weight @ x

    drawing, on_host, on_device, measuring = map(holding, ("drawing", "host", "device", "measuring"))
    (result,) = session.run(
        [(GEMV, code(compiled))],
        MACHINE,
        STOPPING,
        residency="cold",
        seed=0,
        draw=drawn,
        drawing=drawing,
        on_host=on_host,
        on_device=on_device,
        measuring=measuring,
    )
    assert held.index("end of drawing") < held.index("end of device")
    one_by_one = [what for what in held if "drawing" not in what]
    assert one_by_one[::2] == ["device", "host", "device", "measuring"]
    assert one_by_one[1::2] == [f"end of {what}" for what in one_by_one[::2]]
    assert result.compiled is not None
    assert result.series is not None
    assert result.programs_s > result.compiled.lower_s + result.compiled.compile_s
    assert result.series.spent_s > sum(result.series.seconds)


def test_a_session_samples_the_core_right_beside_each_call() -> None:
    order: list[str] = []

    def noted(name: str, rate: float) -> Probe:
        return Probe(name, lambda: (order.append(name), rate)[1])

    probes = [noted("read", READ_GBS), noted("multiply_add", PEAK_GFLOPS), noted("core", 8.0)]
    limits = Limits(CEILINGS, LEVELS, CACHES, *probes)
    result = measured(GEMV, code(right), replace(MACHINE, limits=limits))
    assert result.series is not None
    count = len(result.series.seconds)
    assert [rates[2] for rates in result.series.rates] == [8.0] * count
    assert order == ["read", "multiply_add"] + ["core", "core", "read", "multiply_add"] * count


SMALL = [
    Activation(function="silu", gated=True, d=64),
    Norm(kind="rmsnorm", d=64, residual=True, weight_format="bf16"),
    Embedding(rows=1000, d=4096, weight_format="bf16"),
    CacheUpdate(kv_heads=2, context=64, head_dim=16, value_dim=16, kv_format="bf16"),
    CacheUpdate(kv_heads=2, context=64, head_dim=16, value_dim=16, kv_format="int8"),
    CacheUpdate(kv_heads=2, context=64, head_dim=16, value_dim=16, kv_format="fp8"),
    Gemv(n=64, k=64, weight_format="bf16"),
    Gemv(n=512, k=640, weight_format="f32"),
]


@pytest.mark.parametrize("workload", SMALL, ids=lambda one: one.label)
@pytest.mark.parametrize("residency", ["cold", "warm"])
def test_a_loop_runs_every_call_it_counts(workload: Workload, residency: Any) -> None:
    one = next(one for one in implementations(workload.op) if "cpu" in one.backends and one.refuses(workload) is None)
    packed = check.draw(workload, seed=0)
    compiled = compile_call(workload, one, packed)
    kernel = prepare(workload, one, compiled, packed, residency=residency, caches=Caches.rotated(2**16), dispatch_s=5e-4)
    assert kernel.method.startswith("compiled loop of")
    # An empty loop turns in a nanosecond or two; the smallest of these kernels takes hundreds.
    assert kernel.sample() > 2e-8
    assert kernel.calls_per_sample > 1


def test_cold_operands_are_rotated_through_more_than_the_cache() -> None:
    packed = check.draw(GEMV, seed=0)
    compiled = compile_call(GEMV, code(right), packed)
    made = {
        residency: prepare(GEMV, code(right), compiled, packed, residency=residency, caches=CACHES, dispatch_s=0.0)
        for residency in ("cold", "warm")
    }
    assert made["cold"].residency == "cold"
    assert made["cold"].pool_bytes >= 4 * 2**20
    assert made["warm"].residency == "warm"
    assert made["warm"].pool_bytes == 256 * 512 * 4


def test_equal_calls_have_one_reference_and_a_wrong_kernel_is_still_found(monkeypatch: pytest.MonkeyPatch) -> None:
    references = []
    computed = check.expected

    def counted(*given: Any) -> Any:
        references.append(given)
        return computed(*given)

    monkeypatch.setattr(check, "expected", counted)
    monkeypatch.setattr(prove, "_references", {})
    kernel = Gemv(n=32, k=64, weight_format="f32")
    calls = [(kernel, code(right)), (kernel, replace(code(lambda workload, weight, x: 1.1 * (weight @ x)), name="scaled"))]
    for seed, known in ((1, 1), (1, 1), (2, 2)):
        found = list(session.run(calls, MACHINE, STOPPING, residency="warm", seed=seed))
        assert {one.implementation: one.status for one in found} == {calls[0][1].name: "ok", "scaled": "wrong"}
        assert len(references) == known
    # Weights that are not drawn may be others next time.
    for _ in range(2):
        list(session.run(calls[:1], MACHINE, STOPPING, residency="warm", seed=1, draw=lambda *given: check.draw(*given)))
    assert len(references) == 4


def some_experts(workload: Experts, weight: Any, chosen: Any, x: Any) -> Any:
    return weight[chosen] @ x


@pytest.mark.parametrize("dispatch_s", [0.0, 1e-3], ids=["direct", "looped"])
@pytest.mark.parametrize("cache_bytes", [2**8, 2**16], ids=["one copy", "copies"])
def test_calls_of_a_mixture_meet_every_expert_before_one_again(dispatch_s: float, cache_bytes: int) -> None:
    workload = Experts(experts=12, top_k=3, n=16, k=96, weight_format="f32")
    seen: list[frozenset[int]] = []

    def watched(workload: Experts, weight: Any, chosen: Any, x: Any) -> Any:
        jax.debug.callback(lambda one: seen.append(frozenset(one.tolist())), chosen, ordered=True)
        return some_experts(workload, weight, chosen, x)

    packed = check.draw(workload, seed=0)
    compiled = compile_call(workload, code(watched, "experts"), packed)
    kernel = prepare(
        workload,
        code(watched, "experts"),
        compiled,
        packed,
        residency="cold",
        caches=Caches.rotated(cache_bytes),
        dispatch_s=dispatch_s,
    )
    copies = round(kernel.pool_bytes / workload.operands()["weight"].nbytes)
    assert copies == (1 if cache_bytes == 2**8 else 4)
    assert kernel.method.startswith("compiled loop" if dispatch_s else "direct calls")
    jax.effects_barrier()
    seen.clear()
    while len(seen) < 4 * copies:
        kernel.sample()
        jax.effects_barrier()
    # A round goes through all copies; four rounds are the twelve experts.
    last = seen[-4 * copies :]
    assert {chosen: last.count(chosen) for chosen in last} == dict.fromkeys(last, copies)
    assert sorted(expert for chosen in set(last) for expert in chosen) == list(range(12))


def test_a_mixture_keeps_only_as_many_experts_as_its_measurement_needs() -> None:
    # All experts take 256 MB, and four caches one call's 2 MB twice.
    workload = Experts(experts=256, top_k=2, n=512, k=512, weight_format="f32")
    machine, one = replace(MACHINE, budget=Budget(1e8, 1e8)), code(some_experts, "experts")
    result = measured(workload, one, machine)
    assert (result.status, result.workload) == ("ok", workload)
    assert result.kernel is not None
    assert result.kernel.residency == "cold"
    assert result.method.endswith(" of experts 2 of 6x512x512 f32")
    assert result.kernel.pool_bytes == 6 * 512 * 512 * 4
    (warm,) = session.run([(workload, one)], machine, STOPPING, residency="warm", seed=0)
    assert warm.kernel is not None
    assert warm.kernel.pool_bytes == 2 * 512 * 512 * 4


def test_a_default_choice_says_only_what_is_missing() -> None:
    able, passed_over = chosen(GEMV, "default", "cpu")
    assert len(able) == 1
    assert passed_over == {}
    every, _ = chosen(GEMV, "all", "cpu")
    assert len(every) > 1
    named, missing = chosen(GEMV, "xla.nothing", "cpu")
    assert not named
    assert "no implementation of that name" in missing["xla.nothing"]


def test_a_peer_is_checked_and_timed_beside_ours() -> None:
    (numpy,) = (one for one in implementations("gemv") if one.name == "peers.numpy")
    results = list(session.run([(GEMV, code(right)), (GEMV, numpy)], MACHINE, STOPPING, residency="cold", seed=0))
    assert [(one.implementation, one.status) for one in results] == [("test.code", "ok"), ("peers.numpy", "ok")]
    peer = results[1]
    assert peer.kernel is not None
    assert peer.kernel.residency == "cold"
    assert peer.kernel.method.startswith("direct calls over")
    assert peer.compiled is None


@pytest.mark.parametrize(
    ("function", "status", "words"),
    [
        (lambda workload, weight, x: lambda: 1.1 * (weight @ x), "wrong", "its error of 0.1 against the float64 reference"),
        (lambda workload, weight, x: lambda: 1 / 0, "failed", "ZeroDivisionError"),
    ],
)
def test_a_peer_that_is_wrong_or_breaks_has_no_time(function: Callable[..., Any], status: str, words: str) -> None:
    one = replace(code(function), name="peers.test")
    result = measured(GEMV, one)
    assert (result.status, result.timed) == (status, None)
    assert words in result.reason


def test_a_peer_that_is_slow_to_start_is_still_called_often_enough() -> None:
    def waking(workload, weight, x):
        product, naps = weight @ x, iter([0.02])

        def run():
            time.sleep(next(naps, 0))
            return product

        return run

    result = measured(GEMV, replace(code(waking), name="peers.test"))
    assert result.kernel is not None
    assert result.kernel.calls_per_sample > 1


def test_a_peer_may_keep_results_to_itself_but_not_all() -> None:
    workload = CacheUpdate(kv_heads=2, context=4, head_dim=8, value_dim=8, kv_format="f32")

    def some(workload, keys, values, new_keys, new_values, position):
        after = keys.copy()
        after[:, int(position)] = new_keys
        return lambda: (after, None)

    assert measured(workload, replace(code(some, "cache"), name="peers.test")).status == "ok"
    silent = replace(code(lambda workload, **_: lambda: (None, None), "cache"), name="peers.test")
    assert measured(workload, silent).status == "wrong"


def test_a_library_may_round_before_each_product_of_a_step() -> None:
    step = next(iter(DecodeStep.examples()))
    assert tolerance(GEMV, "peers.test") == PEER_TOLERANCE
    # Four matrices and the attention of each layer, and the output.
    assert tolerance(step, "peers.test") == pytest.approx(PEER_TOLERANCE * (5 * step.model.layers + 1) ** 0.5)
    assert tolerance(step, "flax.unrolled") == step.tolerance()


def test_peers_are_never_chosen_unasked() -> None:
    every, _ = chosen(GEMV, "all", "cpu")
    assert not any(one.is_peer for one in every)
    assert chosen_peers(GEMV, "none", "cpu") == ([], {})
    asked, _ = chosen_peers(GEMV, "numpy", "cpu")
    assert [one.name for one in asked] == ["peers.numpy"]
    _, refused = chosen_peers(replace(GEMV, weight_format="bf16"), "numpy", "cpu")
    assert refused == {"peers.numpy": "weight_format must be f32; got bf16"}
    assert chosen_peers(Embedding(rows=8, d=4, weight_format="f32"), "numpy", "cpu") == ([], {})
