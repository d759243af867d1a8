"""An encoder's forward pass against one written out in float64 NumPy, which shares no code with the program."""

import functools
from dataclasses import replace

import jax
import numpy as np
import pytest
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps.workloads import calls
from roofcast.kernels import check
from roofcast.kernels.encoder import EncoderPass
from roofcast.kernels.model import Step, Window
from roofcast.kernels.registry import supported
from roofcast.kernels.step import DecodeStep
from scipy.special import ndtr, softmax

CONTEXT = 40


def norm(weights: dict, name: str, x: np.ndarray) -> np.ndarray:
    x = x - x.mean(-1, keepdims=True)
    return x / np.sqrt(np.mean(x**2, -1, keepdims=True) + 1e-5) * weights[f"{name}.scale"] + weights[f"{name}.bias"]


def test_an_encoders_pass_is_that_of_a_float64_model() -> None:
    model = replace(model_named("bert-large"), layers=3, d_model=48, heads=4, kv_heads=4, head_dim=12, d_ff=80, vocab=101)
    step = EncoderPass(model=model, context=CONTEXT, weight_format="f32")
    packed = check.draw(step, seed=2)
    w = {name: np.asarray(one, np.float64) for name, one in packed.items() if name != "tokens"}
    # As BERT is written: layers and adds first, then the norm (arXiv:1706.03762, section 3.1).
    x = norm(w, "layers.0.first_norm", w["embedding.table"][packed["tokens"]] + w["position.table"][:CONTEXT])
    for layer in range(3):
        name = f"layers.{layer}"
        q, k, v = np.split((x @ w[f"{name}.qkv.weight"].T + w[f"{name}.qkv.bias"]).reshape(CONTEXT, 12, 12), 3, axis=1)
        shares = softmax(np.einsum("qhd,khd->hqk", q, k) / np.sqrt(12), -1)
        out = np.einsum("hqk,khd->qhd", shares, v).reshape(CONTEXT, -1) @ w[f"{name}.attention_out.weight"].T
        x = norm(w, f"{name}.ffn_norm", x + out)
        wide = x @ w[f"{name}.ffn_up.weight"].T
        out = wide * ndtr(wide) @ w[f"{name}.ffn_down.weight"].T
        x = norm(w, "final_norm" if layer == 2 else f"layers.{layer + 1}.attention_norm", x + out)
    (one,) = (one for one, reason in supported(step, "cpu") if reason is None)
    found = jax.jit(functools.partial(one.function, step))(**packed)
    np.testing.assert_allclose(check.expected(step, packed)[0], x, rtol=1e-9, atol=1e-12)
    assert check.error(step, found, (x,)) <= min(step.tolerance(), 2e-5)


def test_an_encoders_pass_costs_its_matrices_once_and_its_arithmetic_for_every_token() -> None:
    model = model_named("bert-large")
    cost = EncoderPass(model=model, context=512).cost()
    matrices = 24 * (4 * 1024**2 + 2 * 1024 * 4096)
    norms = 2 * 1024 * (2 * 24 + 1)
    assert cost.streamed_bytes == 2 * (matrices + norms + 2 * 512 * 1024)
    products = 2 * 512 * matrices + 24 * 4 * 512**2 * 1024
    # Beside the products, norms, activations and exponentials are little.
    assert products < cost.flops < 1.01 * products


@pytest.mark.parametrize("name", [one for one in catalogue.names("model") if model_named(one).family == "encoder"])
def test_every_encoder_composes(name: str) -> None:
    whole = EncoderPass.of(Step(model_named(name), 128))
    per_token = sum(need.count * need.workload.flops() for need in calls(Step(model_named(name), 128)))
    assert 128 * per_token < whole.flops() < 1.1 * 128 * per_token


def test_only_a_plain_encoder_has_a_forward_pass() -> None:
    bert = model_named("bert-base")
    with pytest.raises(ValueError, match="got gpt2, which has the decoder stack"):
        EncoderPass.of(Step(model_named("gpt2"), 8))
    with pytest.raises(ValueError, match="composed for; got bert-base, which has rope positions"):
        EncoderPass.of(Step(replace(bert, position="rope"), 8))
    with pytest.raises(ValueError, match="composed for; got bert-base, which has sliding-window attention"):
        EncoderPass.of(Step(replace(bert, window=Window(size=8)), 8))
    with pytest.raises(ValueError, match="composed for; got bert-base, which has the encoder stack"):
        DecodeStep.of(Step(bert, 8))
