"""What a call costs and what an op must offer: figures worked out by hand, and rules that hold for every op."""

import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.kernels.activation import Activation
from roofcast.kernels.attention import Attention
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.check import draw
from roofcast.kernels.embedding import Embedding
from roofcast.kernels.experts import Experts
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.model import Formats, Latent, Model, Step, Window
from roofcast.kernels.norm import Norm
from roofcast.kernels.registry import implementations, op_named, op_names, workload_from
from roofcast.kernels.rope import Rope
from roofcast.kernels.router import Router
from roofcast.kernels.sampling import Sampling

EXAMPLES = [example for op in op_names() for example in op_named(op).examples()]
# Llama-3-8B: 32 query heads share 8 cached heads of 128.
GROUPED = Attention(heads=32, kv_heads=8, context=8192, head_dim=128, value_dim=128, scale_dim=128, kv_format="bf16")


def test_gemv_reads_every_weight_once() -> None:
    cost = Gemv(n=14336, k=4096, weight_format="bf16").cost()
    assert cost.reads == {"weight": 117_440_512, "x": 16_384}
    assert cost.writes == {"y": 57_344}
    assert cost.flops == 117_440_512
    assert cost.streamed_bytes == 117_440_512
    assert cost.bytes == 117_514_240
    assert cost.intensity == pytest.approx(0.99937, abs=1e-5)


@given(n=st.integers(1, 2**18), k=st.integers(1, 2**16), weights=st.sampled_from([("f32", 4), ("bf16", 2)]))
def test_a_gemv_does_at_most_two_flops_per_weight_it_reads(n: int, k: int, weights: tuple[str, int]) -> None:
    name, width = weights
    cost = Gemv(n=n, k=k, weight_format=name).cost()
    assert cost.bytes == width * n * k + 4 * (n + k)
    assert cost.intensity < 2 / width


def test_a_grouped_cache_is_read_once_for_all_its_queries() -> None:
    cost = GROUPED.cost()
    assert cost.reads == {"query": 16_384, "keys": 16_777_216, "values": 16_777_216}
    assert cost.writes == {"out": 16_384}
    assert cost.flops == 32 * 8192 * (256 + 256 + 4)
    assert cost.streamed_bytes == 33_554_432
    # Multi-head attention caches four times as much; multi-query an eighth.
    assert replace(GROUPED, kv_heads=32).cost().streamed_bytes == 4 * cost.streamed_bytes
    assert replace(GROUPED, kv_heads=1).cost().streamed_bytes == cost.streamed_bytes / 8
    assert replace(GROUPED, kv_heads=32).cost().flops == cost.flops


def test_a_latent_cache_is_one_head_whose_values_are_not_stored_again() -> None:
    # DeepSeek-V2: 128 heads attend to 512 latent columns and 64 rotary ones.
    latent = Attention(
        heads=128, kv_heads=1, context=4096, head_dim=576, value_dim=512, shared_values=True, scale_dim=192, kv_format="bf16"
    )
    assert latent.cost().reads == {"query": 294_912, "keys": 4_718_592}
    assert latent.cost().writes == {"out": 262_144}
    assert latent.scale == pytest.approx(192**-0.5)


def test_a_cache_of_eight_bits_has_a_scale_per_token_and_head() -> None:
    for name in ("int8", "fp8"):
        assert replace(GROUPED, kv_format=name).cost().streamed_bytes == 2 * 8 * 8192 * (128 + 4)


def test_what_is_learned_of_scores_is_a_few_numbers_per_head() -> None:
    plain = GROUPED.cost()
    for variant, operand, size, flops in (
        ({"sinks": True}, "sinks", 4 * 32, 2 * 32),
        ({"softcap": 50.0}, None, 0, 3 * 32 * 8192),
        ({"bias": "alibi"}, "slopes", 4 * 32, 2 * 32 * 8192),
        ({"bias": "relative"}, "table", 4 * 32 * 32, 32 * 8192),
    ):
        cost = replace(GROUPED, **variant).cost()
        assert cost.reads == plain.reads | ({operand: size} if operand else {})
        assert cost.flops == plain.flops + flops
        assert cost.streamed_bytes == plain.streamed_bytes


@pytest.mark.parametrize(("context", "seen"), [(100, 100), (4096, 4096), (32768, 4096)])
def test_a_windowed_layer_reads_no_more_than_its_window(context: int, seen: int) -> None:
    shape = {"d_model": 64, "heads": 4, "kv_heads": 2, "head_dim": 16, "d_ff": 128, "vocab": 100, "max_context": 65536}
    model = Model(name="alternating", family="decoder", layers=5, window=Window(size=4096, full=1), **shape)
    needs = {need.role: need for need in Attention.needed_by(Step(model, context))}
    assert {role: need.count for role, need in needs.items()} == {"attention": 2, "attention_window": 3}
    assert needs["attention"].workload.cost().streamed_bytes == 2 * 2 * context * 16 * 2
    assert needs["attention_window"].workload.cost().streamed_bytes == 2 * 2 * seen * 16 * 2
    # A ring buffer of the window's length is all that a windowed layer keeps.
    updates = {need.role: need.workload for need in CacheUpdate.needed_by(Step(model, context))}
    assert updates["cache_update_window"].axes()["context"] == seen


def test_latent_attention_scales_by_the_width_before_absorption() -> None:
    latent = Latent(q_lora=24, kv_lora=32, qk_nope=12, qk_rope=4, v=8)
    shape = {"d_model": 64, "heads": 4, "kv_heads": 4, "head_dim": 16, "d_ff": 128, "vocab": 100, "max_context": 64}
    model = Model(name="latent", family="decoder", layers=3, latent=latent, **shape)
    (need,) = Attention.needed_by(Step(model, 10, Formats(kv="f32")))
    axes = {"heads": 4, "kv_heads": 1, "head_dim": 36, "value_dim": 32, "shared_values": True, "scale_dim": 16}
    assert axes.items() <= need.workload.axes().items()
    assert need.workload.cost().streamed_bytes == 10 * 36 * 4


def test_an_embedding_reads_one_row_of_its_table() -> None:
    cost = Embedding(rows=128_256, d=4096, weight_format="bf16").cost()
    assert cost.reads == {"table": 8192, "index": 4}
    assert cost.writes == {"y": 16_384}
    assert cost.flops == 0
    assert cost.intensity == 0
    added = Embedding(rows=1024, d=768, add=True, weight_format="f32").cost()
    assert added.reads == {"table": 3072, "index": 4, "x": 3072}
    assert added.flops == 768


def test_a_mixture_reads_its_chosen_experts_only() -> None:
    # Mixtral-8x7B: two of eight experts, each of 3 x 14336 x 4096 weights.
    up = Experts(experts=8, top_k=2, n=28_672, k=4096, weight_format="bf16").cost()
    assert up.reads == {"weight": 469_762_048, "chosen": 8, "x": 16_384}
    assert up.writes == {"y": 229_376}
    assert up.flops == up.streamed_bytes == 469_762_048
    down = Experts(experts=8, top_k=2, n=4096, k=14_336, own_inputs=True, combine=True, weight_format="bf16").cost()
    assert down.reads == {"weight": 234_881_024, "chosen": 8, "x": 114_688, "factors": 8}
    assert down.writes == {"y": 16_384}
    assert down.flops == 2 * 2 * 4096 * (14_336 + 1)


@given(
    experts=st.integers(1, 300),
    top_k=st.integers(1, 20),
    enough=st.floats(0, 1e6),
    weight=st.sampled_from(["f32", "bf16", "int8"]),
)
def test_a_mixtures_stand_in_costs_the_same(experts: int, top_k: int, enough: float, weight: str) -> None:
    workload = Experts(experts=max(experts, top_k), top_k=top_k, n=7, k=40, weight_format=weight)
    small = workload.stand_in(enough)
    assert small.cost() == workload.cost()
    assert small.experts % top_k == 0
    assert top_k <= small.experts <= workload.experts
    others = small.operands()["weight"].nbytes - small.cost().reads["weight"]
    assert others >= min(enough, (workload.experts // top_k - 1) * workload.cost().reads["weight"]) - 1e-6


def test_a_cache_update_writes_one_row_and_reads_none() -> None:
    cost = CacheUpdate(kv_heads=8, context=8192, head_dim=128, value_dim=128, kv_format="bf16").cost()
    assert cost.reads == {"keys": 0, "values": 0, "new_keys": 4096, "new_values": 4096, "position": 4}
    assert cost.writes == {"keys": 2048, "values": 2048}
    assert cost.streamed_bytes == 0
    assert cost.flops == 0
    narrow = CacheUpdate(kv_heads=8, context=8192, head_dim=128, value_dim=128, kv_format="int8").cost()
    assert narrow.writes == {"keys": 8 * 132, "values": 8 * 132}


@pytest.mark.parametrize(
    ("workload", "reads", "writes", "flops"),
    [
        (Norm(kind="rmsnorm", d=4096, residual=True, weight_format="bf16"), 2 * 16_384 + 8192, 2 * 16_384, 5 * 4096),
        (Norm(kind="layernorm", d=768, weight_format="f32"), 3 * 3072, 3072, 7 * 768),
        (Norm(kind="rmsnorm", d=128, rows=40, weight_format="bf16"), 20_480 + 256, 20_480, 4 * 5120),
        (Rope(heads=40, head_dim=128, max_context=8192), 20_480 + 4, 20_480, 3 * 5120 + 64),
        (Activation(function="silu", gated=True, d=14336), 114_688, 57_344, 5 * 14336),
        (Activation(function="gelu", gated=False, d=3072, activation_format="bf16"), 6144, 6144, 5 * 3072),
        (Activation(function="silu", gated=True, d=2048, rows=8), 131_072, 65_536, 5 * 16_384),
        (Router(experts=128, top_k=8), 512, 64, 4 * 128 + 2 * 8),
        (Router(experts=256, top_k=8, scores="sigmoid", selection_bias=True, scale=2.5), 2048, 64, 5 * 256 + 3 * 8),
        (Sampling(method="greedy", vocab=128_256), 513_024, 4, 128_256),
        (Sampling(method="top_p", vocab=32_000), 128_004, 4, 160_000),
    ],
    ids=lambda value: getattr(value, "label", ""),
)
def test_what_stays_in_cache_is_counted_too(workload, reads: float, writes: float, flops: float) -> None:
    cost = workload.cost()
    assert (sum(cost.reads.values()), sum(cost.writes.values()), cost.flops) == (reads, writes, flops)


# A whole program costs what its calls cost, and what they hand to each other is neither operand nor result of it.
@pytest.mark.parametrize(
    "workload", [one for one in EXAMPLES if one.op not in ("step", "encoder")], ids=lambda workload: workload.label
)
def test_bytes_are_conserved(workload) -> None:
    cost, operands = workload.cost(), workload.operands()
    assert set(cost.reads) == set(operands)
    assert set(cost.writes) == set(workload.results())
    assert cost.bytes == sum(cost.reads.values()) + sum(cost.writes.values())
    assert cost.flops >= 0
    passes = workload.axes().get("repeats", 1)
    assert all(0 <= size <= passes * operands[name].nbytes for name, size in cost.reads.items())
    assert all(0 <= size <= passes * workload.results()[name].nbytes for name, size in cost.writes.items())
    assert cost.streamed == {name for name, tensor in operands.items() if tensor.role in ("weight", "kv")}
    # What is declared is what arrays of these formats take in memory.
    for name, packed in draw(workload, 0).items():
        parts = packed.values() if isinstance(packed, dict) else (packed,)
        assert sum(part.nbytes for part in parts) == operands[name].nbytes, name


@pytest.mark.parametrize("workload", EXAMPLES, ids=lambda workload: workload.label)
def test_axes_are_plain_and_make_the_workload_again(workload) -> None:
    again = workload_from(workload.op, json.loads(json.dumps(workload.axes())))
    assert again == workload
    assert hash(again) == hash(workload)


@pytest.mark.parametrize("op", op_names())
def test_every_op_has_examples_and_an_implementation(op: str) -> None:
    examples, found = list(op_named(op).examples()), implementations(op)
    assert examples
    assert {example.op for example in examples} == {op}
    assert len(set(examples)) == len(examples)
    assert found
    assert len({one.name for one in found}) == len(found)
    assert all(one.op == op for one in found)
    assert [one.priority for one in found] == sorted((one.priority for one in found), reverse=True)


def test_donated_operands_are_results_of_the_same_shape() -> None:
    for workload in EXAMPLES:
        for name in set(workload.donated) & set(workload.operands()):
            assert workload.results()[name] == workload.operands()[name]


def test_an_op_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(KeyError, match=r"op must be one of .*attention.*gemv.*; got 'gemm'"):
        op_named("gemm")
