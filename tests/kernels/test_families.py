"""Every family of models as a whole step, against one written out in float64 NumPy that shares no code with the program.

It runs over a whole sequence at once, with a causal mask, and multiplies latent attention's up-projections out.
"""

from dataclasses import replace
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps.workloads import decode_step, step_cost
from roofcast.kernels import check
from roofcast.kernels.decoder import Decoder, generate
from roofcast.kernels.formats import format_named
from roofcast.kernels.model import Formats, Latent, Model, Step, Window
from roofcast.kernels.step import DecodeStep
from scipy.special import erf, expit, softmax

CONTEXT = 40
LAYERS = {"llama-4-maverick": 4, "deepseek-v2-236b": 3}
FAMILIES = (
    "mixtral-8x7b",
    "qwen3-30b-a3b",
    "deepseek-v2-236b",
    "deepseek-v3-671b",
    "gpt-oss-20b",
    "llama-4-maverick",
    "gpt-4-rumoured",
    "gemma-2-2b",
    "bloom-176b",
    "t5-small",
)


def tiny(name: str) -> Model:
    """A model's structure at widths that run in no time."""
    model = model_named(name)
    shape: dict[str, Any] = {"d_model": 48, "heads": 4, "head_dim": 16, "vocab": 101, "max_context": 128}
    shape |= {"layers": LAYERS.get(name, 2), "kv_heads": 4 if model.kv_heads == model.heads else 2}
    shape |= {"d_ff": 80 if model.d_ff else 0, "scale_dim": min(model.scale_dim, 16)}
    if model.latent is not None:
        shape["latent"] = Latent(q_lora=24, kv_lora=32, qk_nope=12, qk_rope=4, v=8)
    if model.window is not None:
        shape["window"] = replace(model.window, size=8)
    if model.mixture is not None:
        few = {"experts": 8, "top_k": min(model.mixture.top_k, 3), "d_ff_expert": 40}
        few |= {"groups": min(model.mixture.groups, 4), "top_groups": min(model.mixture.top_groups, 2)}
        shape["mixture"] = replace(model.mixture, first_dense_layers=min(model.mixture.first_dense_layers, 1), **few)
    return replace(model, **shape)


def norm(model: Model, weights: dict, name: str, x: np.ndarray) -> np.ndarray:
    if model.norm == "layernorm":
        x = x - x.mean(-1, keepdims=True)
    y = x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * weights[f"{name}.scale"]
    return y + weights[f"{name}.bias"] if model.norm == "layernorm" else y


def rotated(x: np.ndarray) -> np.ndarray:
    """[tokens, heads, width], each token turned to its place."""
    half = x.shape[-1] // 2
    turn = np.exp(1j * np.arange(len(x))[:, None] * 10000.0 ** (-np.arange(half) / half))[:, None]
    z = (x[..., :half] + 1j * x[..., half:]) * turn
    return np.concatenate([z.real, z.imag], -1)


def dense(model: Model, up: np.ndarray, down: np.ndarray, x: np.ndarray) -> np.ndarray:
    functions = {
        "silu": lambda z: z * expit(z),
        "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
        "relu": lambda z: z * (z > 0),
    }
    wide = up @ x
    if not model.gated:
        return down @ functions[model.activation](wide)
    gate, linear = np.split(wide, 2)
    return down @ (functions[model.activation](gate) * linear)


def mixture(model: Model, weights: dict, name: str, x: np.ndarray) -> np.ndarray:
    """Of one token."""
    m, up = model.mixture, "ffn_gate_up" if model.gated else "ffn_up"
    assert m is not None
    logits = weights[f"{name}.router.weight"] @ x
    scores = softmax(logits) if m.scores == "softmax" else expit(logits)
    merits = scores + weights.get(f"{name}.routing.bias", 0)
    groups = np.array_split(np.arange(m.experts), m.groups)
    worth = [sum(sorted(merits[group])[-2 if m.selection_bias else -1 :]) for group in groups]
    open_to = [
        expert for group in sorted(range(m.groups), key=lambda one: -worth[one])[: m.top_groups] for expert in groups[group]
    ]
    chosen = sorted(open_to, key=lambda expert: -merits[expert])[: m.top_k]
    total = sum(scores[chosen]) if m.renormalised else 1.0
    matrices = [weights[f"{name}.expert_{role}.weight"] for role in (up, "ffn_down")]
    out = m.scale / total * np.sum([scores[e] * dense(model, matrices[0][e], matrices[1][e], x) for e in chosen], axis=0)
    if m.shared_experts:
        shared = [weights[f"{name}.shared_expert_{role}.weight"] for role in (up, "ffn_down")]
        out = out + dense(model, shared[0], shared[1], x)
    return out


def attended(model: Model, weights: dict, name: str, q: np.ndarray, k: np.ndarray, v: np.ndarray, seen: int) -> np.ndarray:
    """[tokens, heads * width] from queries, keys and values [tokens, heads, width], each over the last `seen` tokens."""
    distance = np.arange(len(q))[:, None] - np.arange(len(q))
    scores = np.einsum("qhd,khd->hqk", q, k) / np.sqrt(model.scale_dim or model.head_dim)
    if model.attention_softcap:
        scores = model.attention_softcap * np.tanh(scores / model.attention_softcap)
    if model.position == "alibi":
        scores = scores - weights["attention.slopes"][:, None, None] * distance
    if model.position == "relative":
        far = 16 + np.floor(np.log(np.maximum(distance, 16) / 16) / np.log(8) * 16).astype(int)
        scores = scores + weights["attention.table"][:, np.where(distance < 16, np.maximum(distance, 0), np.minimum(far, 31))]
    scores = np.where((distance >= 0) & (distance < seen), scores, -np.inf)
    if model.attention_sinks:
        sinks = weights[f"{name}.sinks"]
        scores = np.concatenate([scores, np.broadcast_to(sinks[:, None, None], (*scores.shape[:2], 1))], -1)
    shares = softmax(scores, -1)[..., : len(q)]
    return np.einsum("hqk,khd->qhd", shares, v).reshape(len(q), -1)


def latent_attention(model: Model, weights: dict, name: str, x: np.ndarray) -> tuple[np.ndarray, dict]:
    """Each head's keys and values are made of the latent vectors, as in training (arXiv:2405.04434, equations 37 to 47)."""
    latent, n = model.latent, len(x)
    assert latent is not None
    low = norm(model, weights, f"{name}.query_latent_norm", x @ weights[f"{name}.query_down.weight"].T)
    q = (low @ weights[f"{name}.query_up.weight"].T).reshape(n, model.heads, -1)
    c, shared = np.split(x @ weights[f"{name}.kv_down.weight"].T, [latent.kv_lora], axis=1)
    c, shared = norm(model, weights, f"{name}.kv_latent_norm", c), rotated(shared[:, None])
    k = np.einsum("tl,hln->thn", c, weights[f"{name}.key_up.weight"])
    v = np.einsum("tl,hvl->thv", c, weights[f"{name}.value_up.weight"])
    q = np.concatenate([q[..., : latent.qk_nope], rotated(q[..., latent.qk_nope :])], -1)
    k = np.concatenate([k, np.repeat(shared, model.heads, 1)], -1)
    out = attended(model, weights, f"{name}.attention", q, k, v, n)
    return out, {"keys": np.concatenate([c, shared[:, 0]], -1)[None]}


def attention(model: Model, weights: dict, layer: int, x: np.ndarray) -> tuple[np.ndarray, dict]:
    name = f"layers.{layer}"
    if model.latent is not None:
        return latent_attention(model, weights, name, x)
    y = x @ weights[f"{name}.qkv.weight"].T + weights.get(f"{name}.qkv.bias", 0)
    q, k, v = np.split(y.reshape(len(x), -1, model.head_dim), [model.heads, model.heads + model.kv_heads], axis=1)
    if model.qk_norm:
        q, k = (norm(model, weights, f"{name}.qk_norm", part) for part in (q, k))
        k = k * weights[f"{name}.qk_norm.key_ratio"]
    if model.position == "rope":
        q, k = rotated(q), rotated(k)
    window = model.window
    is_local = window is not None and layer % (window.local + window.full) < window.local
    group, seen = model.heads // model.kv_heads, window.size if window and is_local else len(x)
    role = f"{name}.attention_window" if is_local else f"{name}.attention"
    out = attended(model, weights, role, q, k.repeat(group, 1), v.repeat(group, 1), seen)
    # A ring: each row holds the last token that falls on it.
    rows = [max(range(row, len(x) - 1, seen)) if row < len(x) - 1 else row for row in range(min(seen, len(x)))]
    return out, {"keys": k.swapaxes(0, 1)[:, rows], "values": v.swapaxes(0, 1)[:, rows]}


def forward(model: Model, weights: dict, tokens: list) -> tuple[np.ndarray, dict]:
    """Logits [tokens, vocab], and the caches as they are before the last token."""
    x, caches = weights["embedding.table"][tokens], {}
    for layer in range(model.layers):
        name = f"layers.{layer}"
        out, cached = attention(
            model, weights, layer, norm(model, weights, f"{name}.{'attention' if layer else 'first'}_norm", x)
        )
        caches |= {f"{name}.{which}": rows for which, rows in cached.items()}
        out = out @ weights[f"{name}.attention_out.weight"].T
        x = x + (norm(model, weights, f"{name}.attention_post_norm", out) if model.post_norm else out)
        if model.family == "encoder-decoder":
            q = norm(model, weights, f"{name}.cross_norm", x) @ weights[f"{name}.cross_query.weight"].T
            scores = np.einsum("qhd,hkd->hqk", q.reshape(len(x), model.heads, -1), weights[f"{name}.cross_keys"])
            out = np.einsum("hqk,hkd->qhd", softmax(scores / np.sqrt(model.scale_dim), -1), weights[f"{name}.cross_values"])
            x = x + out.reshape(len(x), -1) @ weights[f"{name}.cross_out.weight"].T
        y, m = norm(model, weights, f"{name}.ffn_norm", x), model.mixture
        if m is not None and layer >= m.first_dense_layers and (layer - m.first_dense_layers + 1) % m.layer_step == 0:
            out = np.stack([mixture(model, weights, name, one) for one in y])
        else:
            up = weights[f"{name}.{'ffn_gate_up' if model.gated else 'ffn_up'}.weight"]
            out = dense(model, up, weights[f"{name}.ffn_down.weight"], y.T).T
        x = x + (norm(model, weights, f"{name}.ffn_post_norm", out) if model.post_norm else out)
    logits = norm(model, weights, "final_norm", x) @ weights["embedding.table" if model.tied else "lm_head.weight"].T
    return model.logit_softcap * np.tanh(logits / model.logit_softcap) if model.logit_softcap else logits, caches


def drawn(step: DecodeStep, seed: int) -> tuple[dict, dict]:
    """Weights and caches, packed and in float64."""
    tensors = step.composition.arrays()
    # Under large biases every token would be the same one.
    packed = {
        name: one / 8 if name.endswith("bias") else one for name, one in check.draw(step, seed).items() if name in tensors
    }
    return packed, {name: format_named(tensor.format).unpack(packed[name]) for name, tensor in tensors.items()}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_gives_the_logits_of_a_float64_model(name: str) -> None:
    model, tokens = tiny(name), list(np.random.default_rng(3).integers(101, size=CONTEXT))
    # Weights of bfloat16 are exact in float64, too.
    step = DecodeStep(model=model, context=CONTEXT, weight_format="bf16" if model.tied else "f32", kv_format="f32")
    packed, wide = drawn(step, seed=5)
    logits, caches = forward(model, wide, tokens)
    for cache, tensor in step.composition.caches().items():
        assert caches[cache].shape == tensor.shape
        packed[cache] = caches[cache].astype(np.float32)
    found, token = Decoder(step, {n: jnp.asarray(one) for n, one in packed.items()})(
        jnp.int32(tokens[-1]), jnp.int32(CONTEXT - 1)
    )
    assert np.linalg.norm(found - logits[-1]) <= 2e-5 * np.linalg.norm(logits[-1])
    assert token == np.argmax(logits[-1])


def test_64_greedy_tokens_are_those_of_a_float64_model() -> None:
    # Latent attention, a dense layer and a grouped mixture.
    step = DecodeStep(model=tiny("deepseek-v3-671b"), context=1, weight_format="f32", kv_format="f32")
    packed, wide = drawn(step, seed=7)
    tokens = generate(Decoder(step, {name: jnp.asarray(one) for name, one in packed.items()}), [5, 17, 3], 64)
    logits = forward(step.model, wide, [5, 17, 3, *tokens])[0][2:-1]
    second, first = np.sort(logits, -1)[:, -2:].T
    # Else a token could hang on the last bit of a sum.
    assert (first - second).min() > 1e-4
    assert list(np.argmax(logits, -1)) == tokens
    assert len(set(tokens)) > 2


def test_tokens_that_depend_on_an_encoder_are_not_generated() -> None:
    decoder = Decoder.seeded(DecodeStep(model=tiny("t5-small"), context=1))
    with pytest.raises(ValueError, match="model must be a decoder to generate from a prompt; got t5-small"):
        generate(decoder, [1], 1)


@pytest.mark.parametrize("name", FAMILIES)
def test_a_step_agrees_with_its_own_reference_in_what_it_caches(name: str) -> None:
    step = DecodeStep(model=tiny(name), context=CONTEXT, weight_format="f32", kv_format="f32")
    packed = check.draw(step, seed=1)
    decoder = Decoder(step, {name: jnp.asarray(packed[name]) for name in step.composition.arrays()})
    found = tuple(decoder.step(packed["token"], packed["position"]).values())
    assert check.error(step, found, check.expected(step, packed)) <= step.tolerance()


@pytest.mark.parametrize("name", [one for one in catalogue.names("model") if model_named(one).family != "encoder"])
def test_every_model_composes_and_costs_what_its_calls_cost(name: str) -> None:
    step = Step(model_named(name), 1000)
    whole = DecodeStep.of(step)
    cost, total = whole.cost(), step_cost(decode_step(step))
    read = {role: sum(cost.reads[n] for n, t in whole.operands().items() if t.role == role) for role in ("weight", "kv")}
    assert cost.flops == total.flops
    assert read["weight"] == pytest.approx(total.weight_bytes, rel=1e-12)
    assert read["kv"] == pytest.approx(total.kv_bytes, rel=1e-12)
    assert cost.bytes == pytest.approx(total.weight_bytes + total.kv_bytes + total.hot_bytes, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "change", "part"),
    [
        ("bloom-176b", {"window": Window(size=8)}, "alibi positions in a sliding window"),
        ("deepseek-v3-671b", {"qkv_bias": True}, "biases of queries, keys and values in latent attention"),
        ("deepseek-v3-671b", {"qk_norm": True}, "norms of queries and keys in latent attention"),
        ("t5-small", {"parallel_block": True}, "cross-attention in parallel blocks"),
    ],
)
def test_what_cannot_be_composed_is_refused_by_its_part(name: str, change: dict, part: str) -> None:
    with pytest.raises(ValueError, match=f"model must be one that a whole step is composed for; got {name}, which has {part}"):
        DecodeStep.of(Step(replace(model_named(name), **change), 10, Formats()))
