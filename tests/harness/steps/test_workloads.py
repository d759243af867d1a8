"""The list of calls that one token makes, and its totals."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps import workloads
from roofcast.harness.steps.workloads import (
    calls,
    decode_step,
    kv_bytes,
    resident_bytes,
    resident_elements,
    step_cost,
    streamed_weight_elements,
    weight_bytes,
)
from roofcast.kernels.model import Formats, Mixture, Model, Step, Window
from roofcast.kernels.op import Need
from roofcast.kernels.registry import op_named, op_names

NAMES = catalogue.names("model")
LLAMA = model_named("llama-3.2-1b")


def _count(needs: Iterable[Need], *roles: str) -> int:
    return sum(need.count for need in needs if need.role in roles)


def written_per_token(model: Model) -> int:
    """Elements that one token adds to the cache, over all layers."""
    return sum(
        need.count * tensor.elements
        for need in calls(Step(model, 1))
        if need.workload.op == "cache"
        for operand, tensor in need.workload.operands().items()
        if operand.startswith("new_")
    )


@pytest.mark.parametrize("name", NAMES)
def test_the_list_adds_up_to_the_counted_totals(name: str) -> None:
    counted, model = catalogue.facts("model", name)["counted"], model_named(name)
    needs = calls(Step(model, 1))
    assert resident_elements(needs) / 1e9 == pytest.approx(counted["params_b"], abs=0.00051)
    assert streamed_weight_elements(needs) / 1e9 == pytest.approx(counted["weights_streamed_b"], abs=0.00051)
    assert written_per_token(model) == counted["kv_elements"]


def test_the_rumoured_model_reproduces_its_rumour() -> None:
    needs = decode_step(Step(model_named("gpt-4"), 1))
    assert resident_elements(needs) / 1e9 == pytest.approx(1800, rel=0.03)
    assert streamed_weight_elements(needs) / 1e9 == pytest.approx(280, rel=0.03)


def test_a_llama_token_in_order() -> None:
    assert [(need.role, need.count) for need in decode_step(Step(LLAMA, 2048))] == [
        ("embedding", 1),
        ("first_norm", 1),
        ("attention_norm", 15),
        ("qkv", 16),
        ("rope", 16),
        ("cache_update", 16),
        ("attention", 16),
        ("attention_out", 16),
        ("ffn_norm", 16),
        ("ffn_gate_up", 16),
        ("activation", 16),
        ("ffn_down", 16),
        ("final_norm", 1),
        ("lm_head", 1),
        ("sampling", 1),
    ]


@pytest.mark.parametrize("name", NAMES)
def test_every_list_runs_from_the_embedding_to_the_token(name: str) -> None:
    needs = calls(Step(model_named(name), 1))
    ran = [need.role for need in needs if need.count]
    assert ran[0] == "embedding"
    assert ran[-1] == ("final_norm" if model_named(name).family == "encoder" else "sampling")
    assert ran.index("first_norm") < ran.index("attention_out") < ran.index("final_norm")
    assert all(need.count == 0 for need in needs[len(ran) :])
    assert len({need.role for need in needs}) == len(needs)


def test_nothing_an_op_asks_for_is_lost_in_ordering() -> None:
    step = Step(model_named("deepseek-v3"), 100)
    asked = [need for op in op_names() for need in op_named(op).needed_by(step)]
    assert sorted(map(repr, asked)) == sorted(map(repr, decode_step(step)))


def test_a_role_nobody_listed_runs_after_the_layer(monkeypatch: pytest.MonkeyPatch) -> None:
    head = next(need for need in decode_step(Step(LLAMA, 1)) if need.role == "lm_head")

    class Newcomer:
        @staticmethod
        def needed_by(step: Step) -> list[Need]:
            return [replace(head, role="mystery")]

    monkeypatch.setattr(workloads, "op_names", lambda: ("newcomer", *op_names()))
    monkeypatch.setattr(workloads, "op_named", lambda op: Newcomer if op == "newcomer" else op_named(op))
    roles = [need.role for need in decode_step(Step(LLAMA, 1))]
    assert roles[roles.index("ffn_down") :] == ["ffn_down", "mystery", "final_norm", "lm_head", "sampling"]


@pytest.mark.parametrize(
    ("name", "per_layer", "beyond"),
    [
        ("llama-3.2-1b", 2, 1),
        ("gemma-2-9b", 4, 1),
        ("gemma-3-1b", 5, 1),
        ("qwen3-8b", 3, 1),
        ("falcon-180b", 2, 1),
        ("deepseek-v3-671b", 4, 1),
        ("t5-small", 3, 1),
        ("bert-base", 2, 1),
    ],
)
def test_norms_per_layer(name: str, per_layer: int, beyond: int) -> None:
    model = model_named(name)
    norms = sum(need.count for need in calls(Step(model, 1)) if need.workload.op == "norm")
    assert norms == per_layer * model.layers + beyond


def test_a_parallel_block_with_one_norm_has_one_a_layer() -> None:
    model = replace(LLAMA, parallel_block=True)
    assert sum(need.count for need in calls(Step(model, 1)) if need.workload.op == "norm") == model.layers + 1


def test_a_mixture_reads_few_of_the_experts_it_keeps() -> None:
    model = model_named("mixtral-8x7b")
    needs = decode_step(Step(model, 1))
    down = next(need for need in needs if need.role == "expert_ffn_down")
    assert down.count == model.layers
    assert down.resident == 8 * model.layers * model.d_model * 14336
    assert down.workload.cost().reads["weight"] == 2 * model.d_model * 14336 * 2
    per_layer = model.d_model * (2 * 4096 + 2 * 1024 + 8 + 2 * 3 * 14336)
    assert streamed_weight_elements(needs) == model.layers * per_layer + model.vocab * model.d_model


def test_the_calls_of_a_mixture_layer_in_order() -> None:
    model = model_named("deepseek-v3")
    needs = decode_step(Step(model, 1, Formats(weight="int8")))
    roles = [need.role for need in needs]
    layer = needs[roles.index("ffn_norm") : roles.index("final_norm")]
    assert [(need.role, need.workload.op, need.count) for need in layer] == [
        ("ffn_norm", "norm", 61),
        ("ffn_gate_up", "gemv", 3),
        ("activation", "activation", 3),
        ("ffn_down", "gemv", 3),
        ("router", "gemv", 58),
        ("routing", "router", 58),
        ("expert_ffn_gate_up", "experts", 58),
        ("expert_activation", "activation", 58),
        ("expert_ffn_down", "experts", 58),
        ("shared_expert_ffn_gate_up", "gemv", 58),
        ("shared_expert_activation", "activation", 58),
        ("shared_expert_ffn_down", "gemv", 58),
    ]
    calls_of = {need.role: need.workload for need in layer}
    # No engine quantises a router.
    assert calls_of["router"].axes()["weight_format"] == "bf16"
    assert calls_of["expert_ffn_gate_up"].axes()["weight_format"] == "int8"
    assert calls_of["routing"].label == "router 8 of 256 in 4 of 8 groups sigmoid"
    # What one call gives is what the next one takes.
    made = calls_of["expert_ffn_gate_up"].results()["y"].shape
    assert made == calls_of["expert_activation"].operands()["x"].shape == (8, 4096)
    assert calls_of["expert_activation"].results()["y"].shape == calls_of["expert_ffn_down"].operands()["x"].shape


def test_an_encoders_experts_are_kept_but_not_read() -> None:
    mixture = Mixture(experts=4, top_k=2, d_ff_expert=128)
    needs = decode_step(Step(replace(model_named("t5-small"), mixture=mixture, d_ff=0), 1))
    resident = {need.role: (need.count, need.resident) for need in needs}
    for role in ("expert_ffn_up", "expert_ffn_down"):
        assert resident[role] == (6, 6 * 4 * 128 * 512)
        assert resident[f"encoder_{role}"] == (0, 6 * 4 * 128 * 512)


@pytest.mark.parametrize("context", [0, -1, True, 2.0, "8", None])
def test_a_context_out_of_range_is_named(context: Any) -> None:
    message = rf"context must be a whole number from 1; got {context!r}$"
    with pytest.raises(UsageError, match=message):
        decode_step(Step(LLAMA, context))


def test_a_context_beyond_the_model_is_still_a_list_of_kernels() -> None:
    assert _count(decode_step(Step(LLAMA, 2 * LLAMA.max_context)), "attention") == LLAMA.layers


def test_an_encoder_has_no_decode_step_but_a_list() -> None:
    step = Step(model_named("bert-base"), 128)
    with pytest.raises(UsageError, match="model must be a decoder or an encoder-decoder; got bert-base, an encoder"):
        decode_step(step)
    assert _count(calls(step), "qkv", "ffn_up") == 24
    assert kv_bytes(calls(step)) == 0


@pytest.mark.parametrize(("weight", "width"), [("f32", 4), ("bf16", 2)])
def test_weight_bytes_are_resident_elements_at_their_width(weight: str, width: int) -> None:
    needs = decode_step(Step(model_named("qwen3-30b-a3b"), 1, Formats(weight=weight)))
    assert weight_bytes(needs) == pytest.approx(width * resident_elements(needs), rel=1e-12)


def test_kv_bytes_are_the_cached_tokens_once() -> None:
    needs = decode_step(Step(LLAMA, 1000))
    assert kv_bytes(needs) == 1000 * written_per_token(LLAMA) * 2
    assert resident_bytes(needs) == kv_bytes(needs) + weight_bytes(needs)
    latent = model_named("deepseek-v3")
    assert kv_bytes(decode_step(Step(latent, 1000))) == 1000 * written_per_token(latent) * 2


def test_windowed_layers_keep_no_more_than_their_window() -> None:
    model = model_named("gemma-3-1b")
    # Five local layers to one full one, 26 layers: 22 local and 4 full; keys and values of one head of 256 in bf16.
    assert kv_bytes(decode_step(Step(model, 8192))) == (22 * 512 + 4 * 8192) * 2 * 256 * 2
    mistral = model_named("mistral-7b-v0.1")
    assert kv_bytes(decode_step(Step(mistral, 32768))) == kv_bytes(decode_step(Step(mistral, 4096)))


def test_an_encoder_decoder_caches_both_attentions_and_reads_no_encoder_weight() -> None:
    model = model_named("t5-base")
    needs = decode_step(Step(model, 100))
    assert kv_bytes(needs) == 2 * 100 * written_per_token(model) * 2
    assert all(need.count == 0 for need in needs if need.role.startswith("encoder_") or need.role == "cross_kv")


def test_step_cost_is_the_sum_of_its_calls() -> None:
    needs = decode_step(Step(LLAMA, 1000))
    cost = step_cost(needs)
    assert cost.calls == sum(need.count for need in needs)
    assert cost.kv_bytes == kv_bytes(needs)
    assert cost.streamed_bytes + cost.hot_bytes == pytest.approx(sum(n.count * n.workload.cost().bytes for n in needs))
    assert cost.streamed_bytes == pytest.approx(sum(n.count * n.workload.cost().streamed_bytes for n in needs))
    # Beyond the matrices a token reads one embedding row and the norms' scales, and nothing of the table's other rows.
    norms_and_row = (2 * LLAMA.layers + 1 + 1) * LLAMA.d_model
    assert cost.weight_bytes == 2 * (streamed_weight_elements(needs) + norms_and_row)
    # Two operations per weight, four per cached element and query head of its group, and little else.
    least = 2 * streamed_weight_elements(needs) + 2 * 1000 * written_per_token(LLAMA) * LLAMA.heads // LLAMA.kv_heads
    assert least < cost.flops < 1.05 * least


widths = st.integers(1, 64)


@st.composite
def dense_models(draw: st.DrawFn) -> Model:
    kv_heads = draw(st.integers(1, 8))
    return Model(
        name="drawn",
        family="decoder",
        layers=draw(st.integers(1, 40)),
        d_model=draw(widths),
        heads=kv_heads * draw(st.integers(1, 8)),
        kv_heads=kv_heads,
        head_dim=2 * draw(widths),
        d_ff=draw(widths),
        vocab=draw(widths),
        max_context=10_000,
        gated=draw(st.booleans()),
        tied=draw(st.booleans()),
        parallel_block=draw(st.booleans()),
        window=draw(st.none() | st.builds(Window, st.integers(1, 500), st.integers(1, 6), st.integers(0, 3))),
    )


@given(dense_models(), st.integers(1, 10_000))
def test_totals_of_any_dense_decoder(model: Model, context: int) -> None:
    needs = decode_step(Step(model, context))
    query, cached = model.heads * model.head_dim, model.kv_heads * model.head_dim
    layer = model.d_model * (2 * query + 2 * cached + (3 if model.gated else 2) * model.d_ff)
    table = model.vocab * model.d_model
    assert streamed_weight_elements(needs) == model.layers * layer + table
    assert resident_elements(needs) == model.layers * layer + table * (1 if model.tied else 2)
    seen = [context] * model.layers
    if model.window is not None:
        period = model.window.local + model.window.full
        seen = [min(context, model.window.size) if n % period < model.window.local else context for n in range(model.layers)]
    assert kv_bytes(needs) == 2 * 2 * cached * sum(seen)
