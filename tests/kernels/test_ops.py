"""One suite for every op and every implementation of it that runs on this backend."""

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.kernels import check
from roofcast.kernels.activation import Activation
from roofcast.kernels.attention import Attention
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.embedding import Embedding
from roofcast.kernels.experts import Experts
from roofcast.kernels.formats import format_named, format_names
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.norm import Norm
from roofcast.kernels.op import Implementation, Workload
from roofcast.kernels.registry import implementations, op_named, op_names, supported
from roofcast.kernels.rope import Rope
from roofcast.kernels.router import Router
from roofcast.kernels.sampling import Sampling

BACKEND = jax.default_backend()
SEEDS = st.integers(0, 2**31)


def _attention(heads: int, kv_heads: int, head_dim: int, context: int, kv_format: str = "bf16") -> Attention:
    widths = {"head_dim": head_dim, "value_dim": head_dim, "scale_dim": head_dim}
    return Attention(heads=heads, kv_heads=kv_heads, context=context, kv_format=kv_format, **widths)


def _mixture(experts: int, top_k: int, width: int, d_model: int) -> list[Workload]:
    """The two calls of a gated mixture layer."""
    common: dict[str, Any] = {"experts": experts, "top_k": top_k, "weight_format": "bf16"}
    return [Experts(n=2 * width, k=d_model, **common), Experts(n=d_model, k=width, own_inputs=True, combine=True, **common)]


# Heads, groups and odd widths of real models; row counts, vocabularies and contexts are cut down.
MODEL_SHAPES: list[Workload] = [
    Gemv(n=1152, k=896, weight_format="bf16"),  # Qwen2.5-0.5B, queries with keys and values
    Gemv(n=896, k=4864, weight_format="bf16"),  # Qwen2.5-0.5B, feed-forward down
    Gemv(n=1009, k=2304, weight_format="bf16"),  # Gemma-2-2B, a slice of the LM head
    Gemv(n=130, k=14848, weight_format="bf16"),  # Falcon-180B
    _attention(14, 2, 64, 129),  # Qwen2.5-0.5B
    _attention(8, 4, 256, 65),  # Gemma-2-2B
    _attention(232, 8, 64, 33),  # Falcon-180B
    _attention(71, 1, 64, 40),  # Falcon-7B
    _attention(12, 12, 64, 100, "f32"),  # GPT-2
    Attention(  # DeepSeek-V2-Lite
        heads=16, kv_heads=1, context=130, head_dim=576, value_dim=512, shared_values=True, scale_dim=192, kv_format="bf16"
    ),
    Norm(kind="rmsnorm", d=896, residual=True, weight_format="bf16"),
    Norm(kind="layernorm", d=14848, residual=True, weight_format="bf16"),
    Norm(kind="rmsnorm", d=128, rows=40, weight_format="bf16"),  # Qwen3-8B, queries and keys
    Rope(heads=16, head_dim=64, max_context=32768),
    Rope(heads=12, head_dim=256, max_context=131072),
    CacheUpdate(kv_heads=2, context=129, head_dim=64, value_dim=64, kv_format="bf16"),
    CacheUpdate(kv_heads=1, context=130, head_dim=576, value_dim=0, kv_format="bf16"),
    Embedding(rows=3001, d=896, weight_format="bf16"),
    Embedding(rows=1024, d=768, add=True, weight_format="bf16"),
    Activation(function="silu", gated=True, d=4864),
    Activation(function="gelu", gated=False, d=3072),
    Sampling(method="top_p", vocab=50257),
    *_mixture(8, 2, 256, 512),  # Mixtral-8x7B, an eighth and less of its widths; counts of experts are whole
    *_mixture(128, 8, 64, 96),  # Qwen3-30B-A3B
    *_mixture(256, 8, 64, 56),  # DeepSeek-V3
    *_mixture(32, 4, 360, 360),  # gpt-oss-20b
    *_mixture(16, 2, 172, 43),  # the rumoured GPT-4
    Router(experts=8, top_k=2),  # Mixtral
    Router(experts=128, top_k=8),  # Qwen3-MoE
    Router(experts=160, top_k=6, renormalised=False, groups=8, top_groups=3, scale=16.0),  # DeepSeek-V2
    Router(experts=256, top_k=8, scores="sigmoid", selection_bias=True, groups=8, top_groups=4, scale=2.5),  # DeepSeek-V3
    Router(experts=32, top_k=4),  # gpt-oss-20b
    Router(experts=128, top_k=1, scores="sigmoid", renormalised=False),  # Llama 4 Maverick
]
# One call of each op that is neither degenerate nor large, for what holds at any shape.
TYPICAL: dict[str, list[Workload]] = {
    "activation": [
        Activation(function=name, gated=gated, d=13) for name in ("silu", "gelu", "relu") for gated in (True, False)
    ],
    "attention": [_attention(6, 2, 5, 40), _attention(6, 2, 5, 40, "f32")],
    "cache": [CacheUpdate(kv_heads=3, context=17, head_dim=5, value_dim=5, kv_format="bf16")],
    "embedding": [Embedding(rows=7, d=128, add=True, weight_format=name) for name in format_names("weight")],
    "experts": [
        Experts(experts=5, top_k=3, n=17, k=129, weight_format="bf16"),
        Experts(experts=5, top_k=3, n=17, k=129, own_inputs=True, combine=True, weight_format="f32"),
    ],
    "gemv": [
        Gemv(n=17, k=129, weight_format="bf16"),
        Gemv(n=17, k=129, weight_format="f32"),
        *(Gemv(n=130, k=128, weight_format=name) for name in format_names("weight") if name not in ("f32", "bf16")),
    ],
    "norm": [Norm(kind=kind, d=101, rows=3, residual=True, weight_format="bf16") for kind in ("rmsnorm", "layernorm")],
    "rope": [Rope(heads=3, head_dim=6, max_context=100)],
    "router": [
        Router(experts=24, top_k=3),
        Router(experts=24, top_k=3, renormalised=False, groups=6, top_groups=2),
        Router(experts=24, top_k=3, scores="sigmoid", selection_bias=True, groups=6, top_groups=2, scale=2.5),
    ],
    "sampling": [Sampling(method=method, vocab=101) for method in ("greedy", "top_k", "top_p")],
}


def _examples(op: str) -> list[Workload]:
    rounded = [
        dataclasses.replace(workload, activation_format="bf16")
        for workload in TYPICAL.get(op, [])
        if "activation_format" in workload.axes()
    ]
    return [*op_named(op).examples(), *(shape for shape in MODEL_SHAPES if shape.op == op), *rounded]


def _runnable(workloads: list[Workload]) -> Iterator[Any]:
    for workload in workloads:
        for one, refusal in supported(workload, BACKEND):
            if refusal is None:
                yield pytest.param(workload, one, id=f"{one.name}-{'-'.join(str(value) for value in workload.axes().values())}")


def _typical(op: str) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(("workload", "one"), list(_runnable(TYPICAL[op])))


@functools.cache
def _compiled(workload: Workload, one: Implementation) -> Any:
    return jax.jit(functools.partial(one.function, workload), donate_argnames=workload.donated)


def _results(workload: Workload, one: Implementation, packed: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """The results of one call, as they are packed. Operands are copied, because some are donated."""
    results = _compiled(workload, one)(**jax.tree.map(jnp.array, packed))
    return tuple(jax.device_get(results if isinstance(results, tuple) else (results,)))


def _values(workload: Workload, one: Implementation, packed: dict[str, Any]) -> tuple[np.ndarray, ...]:
    """The same in float64."""
    formats = (format_named(tensor.format) for tensor in workload.results().values())
    return tuple(form.unpack(out) for form, out in zip(formats, _results(workload, one, packed), strict=True))


@functools.lru_cache(maxsize=2)
def _question(workload: Workload, seed: int) -> tuple[dict[str, Any], tuple[Any, ...]]:
    packed = check.draw(workload, seed)
    return packed, check.expected(workload, packed)


@pytest.mark.parametrize(("workload", "one"), list(_runnable([shape for op in op_names() for shape in _examples(op)])))
def test_results_are_the_references(workload: Workload, one: Implementation) -> None:
    # The second call is likely to be given the memory that held the first one's results: what it leaves unwritten is wrong.
    for seed in (0, 1):
        packed, expected = _question(workload, seed)
        assert check.error(workload, _results(workload, one, packed), expected) <= workload.tolerance()


@pytest.mark.parametrize("op", op_names())
def test_every_example_is_computed_or_refused_in_words(op: str) -> None:
    for workload in _examples(op):
        reasons = [one.refuses(workload) for one in implementations(op)]
        assert all(reason is None or reason.strip() == reason != "" for reason in reasons)
        assert any(refusal is None for _, refusal in supported(workload, BACKEND)), f"nothing computes {workload.label}"


@pytest.mark.parametrize(
    ("workload", "one"),
    list(_runnable([shape for op, shapes in TYPICAL.items() if op not in ("router", "sampling") for shape in shapes])),
)
def test_a_nan_goes_where_the_reference_sends_it(workload: Workload, one: Implementation) -> None:
    tensors = workload.operands()
    for name in (name for name, tensor in tensors.items() if tensor.role != "index"):
        packed, one_format = check.draw(workload, 3), format_named(tensors[name].format)
        values = one_format.unpack(packed[name]).astype(np.float32)
        values.flat[values.size // 2] = np.nan
        packed[name] = one_format.pack(values)
        # The row of a table that is read, a row of a cache that stays, and experts of which one has the NaN.
        indices = {"index": np.int32(3), "position": np.int32(0), "chosen": np.array([4, 2, 0], np.int32)}
        packed |= {index: indices[index] for index in indices if index in packed}
        expected = check.expected(workload, packed)
        assert any(np.isnan(result).any() for result in expected), name
        for result, reference in zip(_values(workload, one, packed), expected, strict=True):
            np.testing.assert_array_equal(np.isnan(result), np.isnan(reference), err_msg=name)


@_typical("gemv")
@given(seed=SEEDS, a=st.floats(-4, 4, width=32), b=st.floats(-4, 4, width=32))
def test_gemv_is_linear(workload: Gemv, one: Implementation, seed: int, a: float, b: float) -> None:
    packed = check.draw(workload, seed)
    x, y = packed["x"], np.random.default_rng(seed + 1).standard_normal(workload.k, np.float32)
    mixed, *parts = (
        _values(workload, one, packed | {"x": vector})[0] for vector in (np.float32(a) * x + np.float32(b) * y, x, y)
    )
    np.testing.assert_allclose(mixed, a * parts[0] + b * parts[1], atol=2e-5)


@_typical("experts")
@given(seed=SEEDS, chosen=st.lists(st.integers(0, 4), min_size=3, max_size=3), order=st.permutations(range(3)))
def test_chosen_experts_are_gemvs_in_any_order(
    workload: Experts, one: Implementation, seed: int, chosen: list[int], order: list[int]
) -> None:
    packed = check.draw(workload, seed) | {"chosen": np.array(chosen, np.int32)}
    others = [expert for expert in range(workload.experts) if expert not in chosen]
    weight = packed["weight"].copy()
    weight[others] = np.nan
    y = _values(workload, one, packed | {"weight": weight})[0]
    x = np.broadcast_to(packed["x"].astype(np.float64), (3, workload.k))
    each = np.stack([weight[expert].astype(np.float64) @ vector for expert, vector in zip(chosen, x, strict=True)])
    np.testing.assert_allclose(y, packed["factors"].astype(np.float64) @ each if workload.combine else each, atol=1e-5)
    # What belongs to an expert moves with it.
    moved = {name: packed[name][order] for name in ("chosen", "x", "factors") if name in packed and len(packed[name]) == 3}
    again = _values(workload, one, packed | moved)[0]
    np.testing.assert_allclose(again, y if workload.combine else y[order], atol=1e-5)


@_typical("router")
@given(seed=SEEDS, spread=st.sampled_from([0.0, 1.0, 8.0]))
def test_a_router_chooses_the_best_of_the_best_groups(workload: Router, one: Implementation, seed: int, spread: float) -> None:
    packed = check.draw(workload, seed)
    packed["logits"] = packed["logits"] * np.float32(spread)
    chosen, weights = _values(workload, one, packed)
    logits, bias = packed["logits"].astype(np.float64), packed.get("bias", np.float32(0)).astype(np.float64)
    scores = 1 / (1 + np.exp(-logits)) if workload.scores == "sigmoid" else np.exp(logits) / np.exp(logits).sum()
    selection, places = scores + bias, chosen.astype(int)
    assert len(set(places)) == workload.top_k
    assert (np.diff(selection[places]) <= 1e-6).all()
    used = set(places // (workload.experts // workload.groups))
    assert len(used) <= workload.top_groups
    inside = np.isin(np.arange(workload.experts) // (workload.experts // workload.groups), list(used))
    passed_over = np.setdiff1d(np.flatnonzero(inside), places)
    assert (selection[passed_over] <= selection[places].min() + 1e-6).all()
    assert weights.sum() == pytest.approx(workload.scale * (1 if workload.renormalised else scores[places].sum()), rel=1e-5)
    np.testing.assert_allclose(weights / weights.sum(), scores[places] / scores[places].sum(), atol=1e-6)


def test_a_wrong_or_a_second_best_expert_is_told_from_a_tie() -> None:
    workload = Router(experts=4, top_k=2)
    logits = np.array([1.0, 3.0, 1.0, -2.0], np.float32)
    right = check.expected(workload, {"logits": logits})
    weights = right[1].astype(np.float32)
    for chosen in ([1, 0], [1, 2]):
        assert check.error(workload, (np.array(chosen, np.int32), weights), right) < 1e-7
    for chosen in ([0, 1], [1, 3], [2, 0]):
        assert check.error(workload, (np.array(chosen, np.int32), weights), right) == np.inf


@_typical("norm")
@given(seed=SEEDS, scale=st.sampled_from([0.5, 2.0, 16.0]))
def test_a_norm_forgets_the_scale_of_its_input(workload: Norm, one: Implementation, seed: int, scale: float) -> None:
    packed = check.draw(workload, seed)
    larger = {name: packed[name] * np.float32(scale) for name in ("x", "residual")}
    # What is left of the scale is the epsilon under the root, 1e-5 against a variance of 2 x 0.25 at the least, in results
    # of up to 10.
    result, scaled = (_values(workload, one, operands)[0] for operands in (packed, packed | larger))
    np.testing.assert_allclose(scaled, result, atol=2e-4)


@_typical("rope")
@given(seed=SEEDS, position=st.integers(0, 99))
def test_rope_is_a_rotation(workload: Rope, one: Implementation, seed: int, position: int) -> None:
    packed = check.draw(workload, seed)
    turned = _values(workload, one, packed | {"position": np.int32(position)})[0]
    halves = (workload.heads, 2, workload.head_dim // 2)
    np.testing.assert_allclose(
        np.linalg.norm(turned.reshape(halves), axis=1), np.linalg.norm(packed["x"].reshape(halves), axis=1), rtol=1e-6
    )
    unmoved = _values(workload, one, packed | {"position": np.int32(0)})[0]
    np.testing.assert_array_equal(unmoved, packed["x"])


@_typical("rope")
@given(seed=SEEDS, position=st.integers(0, 49), shift=st.integers(0, 49))
def test_rope_keeps_what_depends_on_distance(workload: Rope, one: Implementation, seed: int, position: int, shift: int) -> None:
    query, key = check.draw(workload, seed)["x"], check.draw(workload, seed + 1)["x"]

    def product(at: int) -> np.ndarray:
        turned = (_values(workload, one, {"x": x, "position": np.int32(p)})[0] for x, p in ((query, position + at), (key, at)))
        return np.multiply(*turned).sum(-1)

    np.testing.assert_allclose(product(shift), product(0), atol=1e-4)


@_typical("attention")
@given(seed=SEEDS, sharpness=st.sampled_from([0.0, 1.0, 30.0]))
def test_attention_is_a_weighted_mean_of_values(workload: Attention, one: Implementation, seed: int, sharpness: float) -> None:
    packed = check.draw(workload, seed)
    out = _values(workload, one, packed | {"query": packed["query"] * np.float32(sharpness)})[0]
    values = format_named(workload.kv_format).unpack(packed["values"])
    grouped = out.reshape(workload.kv_heads, -1, workload.value_dim)
    assert (grouped <= values.max(1, keepdims=True) + 1e-5).all()
    assert (grouped >= values.min(1, keepdims=True) - 1e-5).all()
    if sharpness == 0:
        np.testing.assert_allclose(grouped, np.broadcast_to(values.mean(1, keepdims=True), grouped.shape), atol=1e-5)


@_typical("attention")
@given(seed=SEEDS)
def test_grouped_queries_are_repeated_heads(workload: Attention, one: Implementation, seed: int) -> None:
    packed = check.draw(workload, seed)
    repeated = dataclasses.replace(workload, kv_heads=workload.heads)
    group = workload.heads // workload.kv_heads
    every = {name: np.repeat(packed[name], group, axis=0) for name in ("keys", "values")}
    shared, own = _values(workload, one, packed)[0], _values(repeated, one, packed | every)[0]
    np.testing.assert_allclose(shared, own, atol=2e-5)


@_typical("cache")
@given(seed=SEEDS)
def test_an_update_changes_one_row(workload: CacheUpdate, one: Implementation, seed: int) -> None:
    packed = check.draw(workload, seed)
    for name, after in zip(("keys", "values"), _results(workload, one, packed), strict=True):
        others = np.arange(workload.context) != packed["position"]
        np.testing.assert_array_equal(after[:, others], packed[name][:, others])
        np.testing.assert_array_equal(after[:, int(packed["position"])], packed[f"new_{name}"].astype(after.dtype))


@_typical("sampling")
@given(seed=SEEDS, spread=st.sampled_from([0.0, 1.0, 8.0]), uniform=st.floats(0, 1, exclude_max=True, width=32))
def test_a_draw_stays_inside_what_is_kept(
    workload: Sampling, one: Implementation, seed: int, spread: float, uniform: float
) -> None:
    packed = check.draw(workload, seed)
    packed["logits"] = packed["logits"] * np.float32(spread)
    if workload.method != "greedy":
        packed["uniform"] = np.float32(uniform)
    token = int(_values(workload, one, packed)[0])
    logits = packed["logits"].astype(np.float64)
    larger = np.sum(logits > logits[token])
    mass = np.exp(logits - logits.max())
    if workload.method == "top_p":
        assert mass[logits > logits[token]].sum() / mass.sum() < workload.p + 1e-5
    else:
        assert larger < (workload.k if workload.method == "top_k" else 1)


@pytest.mark.parametrize("method", ["top_k", "top_p"])
def test_draws_follow_the_probabilities(method: str) -> None:
    workload = Sampling(method=method, vocab=17, k=5, p=0.8)
    logits = check.draw(workload, 5)["logits"] * 2
    uniforms = ((np.arange(1000) + 0.5) / 1000).astype(np.float32)
    mass = np.exp(logits.astype(np.float64) - logits.max())
    order = np.argsort(-mass)
    before = np.cumsum(mass[order]) - mass[order]
    kept = order[:5] if method == "top_k" else order[before < 0.8 * mass.sum()]
    share = np.zeros(17)
    share[kept] = mass[kept] / mass[kept].sum()
    for one, refusal in supported(workload, BACKEND):
        if refusal is None:
            draw = functools.partial(one.function, workload, logits=jnp.asarray(logits))
            tokens = jax.lax.map(lambda uniform, draw=draw: draw(uniform=uniform), jnp.asarray(uniforms))
            counts = np.bincount(np.asarray(tokens), minlength=17)
            np.testing.assert_allclose(counts / 1000, share, atol=2e-3)
