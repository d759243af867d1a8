"""The decoder against one written out in float64 NumPy, which shares no code with the program."""

import jax.numpy as jnp
import numpy as np
import pytest
from roofcast.kernels import check
from roofcast.kernels.decoder import Decoder, generate
from roofcast.kernels.formats import format_named
from roofcast.kernels.model import Model, Window
from roofcast.kernels.step import DecodeStep
from scipy.special import erf

SHAPE = {"family": "decoder", "d_model": 48, "heads": 4, "kv_heads": 2, "head_dim": 16, "d_ff": 80, "vocab": 101}
LLAMA = Model(name="tiny-llama", layers=2, max_context=128, tied=True, **SHAPE)
OLD = SHAPE | {"gated": False, "activation": "gelu", "norm": "layernorm"}
GPT2 = Model(name="tiny-gpt2", layers=2, max_context=128, tied=True, qkv_bias=True, position="learned", **OLD)
FALCON = Model(name="tiny-falcon", layers=2, max_context=128, parallel_block=True, parallel_norms=2, **OLD)
WINDOWED = Model(name="tiny-windowed", layers=3, max_context=128, qk_norm=True, window=Window(size=8, full=1), **SHAPE)
TOKENS = 64


def decoded(model: Model, weights: dict, prompt: list, count: int) -> tuple[list, np.ndarray]:
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
