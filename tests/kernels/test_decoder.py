"""The decoder against one written out in float64 NumPy, which shares no code with the program."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from roofcast.kernels import check
from roofcast.kernels.decoder import Decoder, generate
from roofcast.kernels.formats import format_named
from roofcast.kernels.model import Model, Window
from roofcast.kernels.step import DecodeStep
from roofcast.kernels.step.checkpoint import Checkpoint, differences
from scipy.special import erf

SHAPE = {"family": "decoder", "d_model": 48, "heads": 4, "kv_heads": 2, "head_dim": 16, "d_ff": 80, "vocab": 101}
LLAMA = Model(name="tiny-llama", layers=2, max_context=128, tied=True, **SHAPE)
OLD = SHAPE | {"gated": False, "activation": "gelu", "norm": "layernorm"}
GPT2 = Model(name="tiny-gpt2", layers=2, max_context=128, tied=True, qkv_bias=True, position="learned", **OLD)
FALCON = Model(name="tiny-falcon", layers=2, max_context=128, parallel_block=True, parallel_norms=2, **OLD)
WINDOWED = Model(name="tiny-windowed", layers=3, max_context=128, qk_norm=True, window=Window(size=8, full=1), **SHAPE)
TOKENS = 64


def decoded(model: Model, weights: dict, prompt: list, count: int) -> tuple[list, float]:
    """Greedy decoding with the whole history in Python lists; the tokens, and the smallest lead of one over the next."""
    heads, kv_heads, width = model.heads, model.kv_heads, model.head_dim
    history = [([], []) for _ in range(model.layers)]
    tokens, lead = list(prompt), np.inf

    def norm(name, x):
        if model.norm == "rmsnorm":
            return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * weights[f"{name}.scale"]
        x = x - x.mean(-1, keepdims=True)
        return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * weights[f"{name}.scale"] + weights[f"{name}.bias"]

    def rotated(x, position):
        turn = np.exp(1j * position * 10000.0 ** (-2 * np.arange(width // 2) / width))
        z = (x[:, : width // 2] + 1j * x[:, width // 2 :]) * turn
        return np.concatenate([z.real, z.imag], -1)

    for position in range(len(prompt) + count - 1):
        x = weights["embedding.table"][tokens[position]]
        if model.position == "learned":
            x = x + weights["position.table"][position]
        for layer, (keys, values) in enumerate(history):
            name = f"layers.{layer}"
            qkv = weights[f"{name}.qkv.weight"] @ norm(f"{name}.{'attention' if layer else 'first'}_norm", x)
            qkv = qkv + weights.get(f"{name}.qkv.bias", 0)
            q, k, v = np.split(qkv.reshape(-1, width), [heads, heads + kv_heads])
            if model.qk_norm:
                q, k = (norm(f"{name}.qk_norm", part) for part in (q, k))
                k = k * weights[f"{name}.qk_norm.key_ratio"]
            if model.position == "rope":
                q, k = rotated(q, position), rotated(k, position)
            keys.append(k)
            values.append(v)
            seen = slice(-8, None) if model.window and layer % 2 == 0 else slice(None)
            out = []
            for head in range(heads):
                shared = head // (heads // kv_heads)
                past_keys, past_values = (np.array([one[shared] for one in past[seen]]) for past in (keys, values))
                weight = np.exp(past_keys @ q[head] / np.sqrt(width))
                out.append(weight / weight.sum() @ past_values)
            attended = x + weights[f"{name}.attention_out.weight"] @ np.concatenate(out)
            y = norm(f"{name}.ffn_norm", x if model.parallel_block else attended)
            if model.gated:
                gate, up = np.split(weights[f"{name}.ffn_gate_up.weight"] @ y, 2)
                y = gate / (1 + np.exp(-gate)) * up
            else:
                y = weights[f"{name}.ffn_up.weight"] @ y
                y = y * (1 + erf(y / np.sqrt(2))) / 2
            x = attended + weights[f"{name}.ffn_down.weight"] @ y
        logits = weights["embedding.table" if model.tied else "lm_head.weight"] @ norm("final_norm", x)
        if position >= len(prompt) - 1:
            second, first = np.sort(logits)[-2:]
            lead = min(lead, first - second)
            tokens.append(int(np.argmax(logits)))
    return tokens[len(prompt) :], lead


@pytest.mark.parametrize("model", [LLAMA, GPT2, FALCON, WINDOWED], ids=lambda model: model.name)
def test_it_generates_the_tokens_of_a_float64_decoder(model: Model) -> None:
    step = DecodeStep(model=model, context=1, weight_format="f32", kv_format="f32")
    tensors = step.composition.arrays()
    # Under large biases every token would be the same one.
    drawn = {name: one / 8 if name.endswith("bias") else one for name, one in check.draw(step, seed=7).items()}
    wide = {name: format_named(tensor.format).unpack(drawn[name]) for name, tensor in tensors.items()}
    expected, lead = decoded(model, wide, [5, 17, 3], TOKENS)
    # Else a token could hang on the last bit of a sum.
    assert lead > 1e-4
    decoder = Decoder(step, {name: jnp.asarray(drawn[name]) for name in tensors})
    assert generate(decoder, [5, 17, 3], TOKENS) == expected
    assert len(set(expected)) > 2


def test_an_empty_prompt_is_refused_and_so_is_a_draw() -> None:
    shape = {"model": LLAMA, "context": 1, "weight_format": "f32", "kv_format": "f32"}
    with pytest.raises(ValueError, match="prompt must hold at least one token; got none"):
        generate(Decoder.seeded(DecodeStep(**shape)), [], 1)
    with pytest.raises(ValueError, match="sampling must be greedy to generate; got top_k"):
        generate(Decoder.seeded(DecodeStep(sampling="top_k", **shape)), [1], 1)


def stored(folder: Path, tensors: dict[str, np.ndarray]) -> None:
    """A safetensors file as the format's README lays it out."""
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    data = b""
    for name, array in tensors.items():
        dtype = {"float32": "F32", "float16": "F16", "bfloat16": "BF16", "int64": "I64"}[array.dtype.name]
        header[name] = {"dtype": dtype, "shape": array.shape, "data_offsets": (len(data), len(data) + array.nbytes)}
        data += array.tobytes()
    text = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)


def llama_tensors(model: Model, dtype: Any) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(0)
    width, kv = model.heads * model.head_dim, model.kv_heads * model.head_dim
    shapes = {"model.embed_tokens": (model.vocab, model.d_model), "model.norm": (model.d_model,)}
    for layer in range(model.layers):
        one = f"model.layers.{layer}"
        shapes |= {f"{one}.{norm}": (model.d_model,) for norm in ("input_layernorm", "post_attention_layernorm")}
        shapes |= {f"{one}.self_attn.{which}_norm": (model.head_dim,) for which in "qk" if model.qk_norm}
        rows = zip("qkv", (width, kv, kv), strict=True)
        shapes |= {f"{one}.self_attn.{which}_proj": (height, model.d_model) for which, height in rows}
        shapes |= {f"{one}.self_attn.o_proj": (model.d_model, width), f"{one}.mlp.down_proj": (model.d_model, model.d_ff)}
        shapes |= {f"{one}.mlp.{which}_proj": (model.d_ff, model.d_model) for which in ("gate", "up")}
    if not model.tied:
        shapes["lm_head"] = (model.vocab, model.d_model)
    return {f"{name}.weight": generator.standard_normal(shape).astype(dtype) for name, shape in shapes.items()}


def test_stored_weights_come_under_the_steps_names(tmp_path: Path) -> None:
    tensors = llama_tensors(WINDOWED, ml_dtypes.bfloat16)
    stored(tmp_path, tensors)
    step = DecodeStep(model=WINDOWED, context=4, weight_format="bf16", kv_format="f32")
    held = Decoder.loaded(step, tmp_path).arrays(step.composition.arrays())
    parts = np.split(np.asarray(held["layers.1.qkv.weight"]), [64, 96])
    for which, part in zip("qkv", parts, strict=True):
        np.testing.assert_array_equal(part, tensors[f"model.layers.1.self_attn.{which}_proj.weight"])
    gate, up = np.split(np.asarray(held["layers.2.ffn_gate_up.weight"]), 2)
    np.testing.assert_array_equal(gate, tensors["model.layers.2.mlp.gate_proj.weight"])
    np.testing.assert_array_equal(up, tensors["model.layers.2.mlp.up_proj.weight"])
    np.testing.assert_array_equal(held["lm_head.weight"], tensors["lm_head.weight"])
    keys = np.asarray(held["layers.0.qk_norm.scale"], np.float32) * held["layers.0.qk_norm.key_ratio"]
    np.testing.assert_allclose(keys, tensors["model.layers.0.self_attn.k_norm.weight"].astype(np.float32), rtol=1e-6)


def test_generation_runs_on_stored_weights(tmp_path: Path) -> None:
    stored(tmp_path, llama_tensors(LLAMA, np.float32))
    step = DecodeStep(model=LLAMA, context=1, weight_format="f32", kv_format="f32")
    weights = Checkpoint(tmp_path).read(step)
    wide = {name: weights[name].astype(np.float64) for name in weights}
    assert generate(Decoder.loaded(step, tmp_path), [3, 1], 8) == decoded(LLAMA, wide, [3, 1], 8)[0]


def test_weights_of_another_model_are_refused_in_one_sentence(tmp_path: Path) -> None:
    step = DecodeStep(model=LLAMA, context=1)
    with pytest.raises(ValueError, match=r"weights must be a folder with \*.safetensors files; got "):
        Checkpoint(tmp_path)
    tensors = llama_tensors(LLAMA, np.float16)
    stored(tmp_path, tensors)
    Checkpoint(tmp_path).check(step)
    more = r"weights must give embedding.table the shape \(102, 48\), as tiny-llama has it; .* give \(101, 48\)"
    with pytest.raises(ValueError, match=more):
        Checkpoint(tmp_path).check(replace(step, model=replace(LLAMA, vocab=102)))
    with pytest.raises(ValueError, match=r"weights must hold model.layers.2.input_layernorm.weight; .* does not"):
        Checkpoint(tmp_path).check(replace(step, model=replace(LLAMA, layers=3)))
    with pytest.raises(ValueError, match=r"weights must be laid out as Llama's, which have no position.table"):
        Checkpoint(tmp_path).check(replace(step, model=GPT2))
    stored(tmp_path, tensors | {"model.norm.weight": np.zeros(48, np.int64)})
    with pytest.raises(ValueError, match=r"weights must be BF16, F16, F32; model.norm.weight is I64"):
        Checkpoint(tmp_path).check(step)
    (tmp_path / "model.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0not json")
    with pytest.raises(ValueError, match="weights must be readable safetensors files; got "):
        Checkpoint(tmp_path)


def test_what_a_checkpoint_asks_for_and_the_ops_do_otherwise_is_said(tmp_path: Path) -> None:
    assert differences(tmp_path) == []
    (tmp_path / "config.json").write_text(json.dumps({"rope_theta": 500000.0, "rms_norm_eps": 1e-05, "rope_scaling": None}))
    assert differences(tmp_path) == ["rope_theta is 500000.0, and 10000.0 here"]
