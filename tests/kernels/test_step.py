"""The whole step as an op: its cost is its calls', its program copies nothing, and what cannot be composed is refused."""

import functools
from collections import Counter
from dataclasses import replace

import jax
import numpy as np
import pytest
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps.workloads import decode_step, step_cost
from roofcast.kernels import check
from roofcast.kernels.decoder import Decoder, refusal
from roofcast.kernels.formats import format_named
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.op import Need
from roofcast.kernels.registry import supported, workload_from
from roofcast.kernels.rope import Rope
from roofcast.kernels.step import DecodeStep

DENSE = ("llama-3.2-1b", "qwen2.5-0.5b", "qwen3-0.6b", "gpt2", "gpt3-175b", "falcon-180b", "gemma-3-1b", "opt-175b")


def small(name: str, layers: int) -> Step:
    """A model's structure at a few layers, widths that compile and run in no time."""
    model = replace(model_named(name), layers=layers, d_model=64, d_ff=96, heads=4, kv_heads=2, head_dim=16, vocab=211)
    return Step(model, 40, Formats("bf16", "bf16"))


def results(workload: DecodeStep, packed: dict) -> tuple:
    (one,) = (one for one, reason in supported(workload, "cpu") if reason is None)
    return jax.device_get(jax.jit(functools.partial(one.function, workload))(**packed))


@pytest.mark.parametrize("name", DENSE)
def test_it_costs_what_its_calls_cost(name: str) -> None:
    step = Step(model_named(name), 1000)
    whole, calls = DecodeStep.of(step), decode_step(step)
    cost, total = whole.cost(), step_cost(calls)
    read = {role: sum(cost.reads[n] for n, t in whole.operands().items() if t.role == role) for role in ("weight", "kv")}
    assert cost.flops == total.flops
    assert read["weight"] == pytest.approx(total.weight_bytes, rel=1e-12)
    assert read["kv"] == pytest.approx(total.kv_bytes, rel=1e-12)
    assert cost.bytes == pytest.approx(total.weight_bytes + total.kv_bytes + total.hot_bytes, rel=1e-12)


@pytest.mark.parametrize("name", [*DENSE, "gemma-3-4b"])
def test_it_runs_every_call_as_often_as_a_token_needs_it(name: str) -> None:
    step = small(name, 13)
    ran: Counter = Counter()
    whole = DecodeStep.of(step)

    def run(call, **operands):
        ran[call] += 1
        assert {name: np.shape(value) for name, value in operands.items()} == {
            name: tensor.shape for name, tensor in call.operands().items()
        }
        return tuple(np.zeros(tensor.shape) for tensor in call.results().values())

    arrays = {name: np.zeros(tensor.shape) for name, tensor in whole.composition.arrays().items()}
    whole.composition.run(run, arrays, np.int32(3), np.int32(9))
    needed: Counter = Counter()
    for need in decode_step(step):
        needed[need.workload] += need.count
    assert ran == +needed
    order = [role for role, layer in whole.composition.places() if layer in (None, 1)]
    roles = [need.role for need in decode_step(step)]
    known = [role for role in order if role in roles]
    assert known == sorted(known, key=roles.index)


@pytest.mark.parametrize("sampling", ["top_k", "top_p"])
def test_another_draw_is_right_too(sampling: str) -> None:
    workload = DecodeStep.of(replace(small("llama-3.2-1b", 1), sampling=sampling))
    packed = check.draw(workload, 1)
    assert check.error(workload, results(workload, packed), check.expected(workload, packed)) <= workload.tolerance()


def test_a_wrong_weight_or_a_wrong_token_is_seen() -> None:
    workload = DecodeStep.of(small("llama-3.2-1b", 2))
    packed = check.draw(workload, 0)
    expected, right = check.expected(workload, packed), results(workload, packed)
    assert check.error(workload, right, expected) <= workload.tolerance()
    swapped = packed | {"layers.1.attention_out.weight": packed["layers.0.attention_out.weight"]}
    assert check.error(workload, results(workload, swapped), expected) > workload.tolerance()
    assert check.error(workload, (*right[:-1], np.int32((right[-1] + 1) % 211)), expected) > workload.tolerance()


def test_no_cache_is_copied_however_many_layers_there_are() -> None:
    # Names of more than ten layers do not sort as their numbers do.
    workload = DecodeStep.of(replace(small("llama-3.2-1b", 12), context=4096))
    (one,) = (one for one, reason in supported(workload, "cpu") if reason is None)
    specs = {n: jax.ShapeDtypeStruct(t.shape, format_named(t.format).dtype) for n, t in workload.operands().items()}
    call = jax.jit(functools.partial(one.function, workload), donate_argnames=workload.donated)
    memory = call.lower(**specs).compile().memory_analysis()
    caches = workload.composition.caches().values()
    assert memory.alias_size_in_bytes == sum(tensor.nbytes for tensor in caches)
    assert memory.temp_size_in_bytes < min(tensor.nbytes for tensor in caches)


def test_axes_say_no_more_of_a_model_than_it_has() -> None:
    whole = DecodeStep.of(small("gemma-3-1b", 7))
    axes = whole.axes()
    assert axes["model"]["window"] == {"size": 512, "local": 5, "full": 1}
    assert "mixture" not in axes["model"]
    assert "attention_softcap" not in axes["model"]
    assert workload_from("step", axes) == whole


def test_a_call_that_has_no_place_in_the_step_is_not_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    step = small("llama-3.2-1b", 1)
    extra = Need("twist", Rope(heads=1, head_dim=2, max_context=8), 1)
    monkeypatch.setattr(Rope, "needed_by", classmethod(lambda cls, step: [extra]))
    with pytest.raises(ValueError, match=r"which has calls of a role that has no place in it: twist$"):
        DecodeStep.of(step)


def test_a_call_that_nothing_computes_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    workload = DecodeStep.of(small("llama-3.2-1b", 1))
    assert refusal(workload, "cpu") is None
    reason = refusal(workload, "abacus") or ""
    assert reason.startswith("nothing computes its ")
    assert reason.endswith("(none is for abacus)")
    monkeypatch.setattr(jax, "default_backend", lambda: "abacus")
    with pytest.raises(ValueError, match=r"nothing computes its .* is for abacus"):
        Decoder(workload, {})
