"""Other libraries compute what our references say, where they are installed, and are refused in words elsewhere."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from roofcast.harness.measure.prove import tolerance
from roofcast.kernels import check
from roofcast.kernels.attention import Attention
from roofcast.kernels.formats import format_named
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.libraries import ggml, llama, pytorch
from roofcast.kernels.model import Model, Window
from roofcast.kernels.op import Workload
from roofcast.kernels.registry import implementations
from roofcast.kernels.rope.reference import rotate
from roofcast.kernels.step import DecodeStep, eager, gguf

HEADS: dict[str, Any] = {"head_dim": 64, "value_dim": 64, "scale_dim": 64}
SHAPE: dict[str, Any] = {"family": "decoder", "heads": 4, "kv_heads": 2, "head_dim": 64, "d_model": 96, "d_ff": 160}
LLAMA, QWEN2, QWEN3 = (
    Model(name="small", layers=2, vocab=101, max_context=64, **SHAPE, **facts)
    for facts in ({"tied": True}, {"qkv_bias": True}, {"qk_norm": True})
)
STEPS = [
    *(DecodeStep(model=one, context=40, weight_format="f32", kv_format="f32") for one in (LLAMA, QWEN2, QWEN3)),
    *(DecodeStep(model=LLAMA, context=1, weight_format=name, sampling="top_k") for name in ("f16", "bf16", "int4")),
    *(DecodeStep(model=QWEN3, context=33, weight_format=name, kv_format="int8") for name in ("int8", "int4")),
]
CALLS: list[Workload] = [
    # Of 96 rows ggml interleaves eight each, of 97 it cannot.
    *(Gemv(n=n, k=256, weight_format=name) for name in ("f32", "f16", "bf16", "int8", "int4") for n in (96, 97)),
    *(Attention(heads=8, kv_heads=2, context=50, kv_format=name, **HEADS) for name in ("f32", "bf16")),
    Attention(heads=4, kv_heads=4, context=33, kv_format="f32", **HEADS),
    *STEPS,
]
PEERS = [(call, one) for call in CALLS for one in implementations(call.op) if one.is_peer]


@pytest.mark.parametrize(("call", "one"), PEERS, ids=[f"{one.name}-{call.label}" for call, one in PEERS])
def test_a_peer_computes_the_reference_again_and_again_or_says_why_not(call: Workload, one: Any) -> None:
    refusal = one.missing() or one.refuses(call)
    if refusal:
        assert refusal.strip() == refusal != ""
        return
    packed = check.draw(call, 0)
    run = one.function(call, **packed)
    for _ in range(2):
        wrong = check.error(call, run(), check.expected(call, packed), partial=True)
        assert wrong <= tolerance(call, one.name)
        # What is right but for rounding to 8 bits is far closer where nothing is rounded to them.
        if isinstance(call, DecodeStep) and call.weight_format == "f32":
            assert wrong <= 5e-3


def test_numpy_is_always_there() -> None:
    (numpy,) = (one for one in implementations("gemv") if one.name == "peers.numpy")
    assert numpy.missing() is None
    assert numpy.refuses(CALLS[0]) is None


def test_what_a_library_cannot_take_is_refused_in_words() -> None:
    assert pytorch.refusal(weight="int8") == "weight must be one of f32, bf16, f16; got int8"
    assert ggml.refusal("fp8", 256) == "weight_format must be one of f32, f16, bf16, int8, int4; got fp8"
    assert ggml.refusal("int8", 100) == "k must be a multiple of 32 for int8; got 100"


def test_without_llama_cpp_it_is_said_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for op in ("gemv", "step"):
        (one,) = (one for one in implementations(op) if one.name == "peers.llama_cpp")
        assert one.missing() == "llama.cpp is not installed: pip install 'roofcast[peers]'"


def test_weights_without_gguf_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ggml, "missing", lambda: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert llama.missing() == "gguf is not installed: pip install 'roofcast[peers]'"


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        ({"window": Window(8)}, "model must be of Llama's or Qwen's kind; small has sliding windows"),
        ({"post_norm": True}, "model must be of Llama's or Qwen's kind; small has norms after attention and feed-forward"),
        ({"activation": "gelu"}, "model must be of Llama's or Qwen's kind; small has a feed-forward other than SwiGLU"),
        ({"qkv_bias": True, "qk_norm": True}, "model must be of Llama's or Qwen's kind; small has normed heads besides biases"),
        ({"head_dim": 16}, "head_dim must be a multiple of 32 for a cache of int8; got 16"),
        ({"d_ff": 80}, "k must be a multiple of 32 for int8; got 80"),
    ],
)
def test_a_step_that_llama_cpp_is_not_given_is_refused_in_words(facts: dict[str, Any], reason: str) -> None:
    step = DecodeStep(model=replace(LLAMA, **facts), context=8, weight_format="int8", kv_format="int8")
    assert gguf.refusal(step) == reason


def test_a_step_that_pytorch_is_not_given_is_refused_in_words() -> None:
    steps = [DecodeStep(model=one, context=8) for one in (LLAMA, QWEN2, QWEN3, replace(LLAMA, norm="layernorm"))]
    assert [eager.refusal(step) for step in steps] == [
        None,
        "model must be of Llama's kind; small has biases",
        "model must be of Llama's kind; small has normed heads",
        "model must be of Llama's kind; small has layer norms",
    ]
    quantised = DecodeStep(model=LLAMA, context=8, weight_format="int4")
    assert eager.refusal(quantised) == "weight must be one of f32, bf16, f16; got int4"


def test_a_step_of_other_formats_is_refused() -> None:
    assert gguf.refusal(DecodeStep(model=LLAMA, context=8, kv_format="fp8")) == (
        "kv_format must be one of f32, bf16, f16, int8; got fp8"
    )
    refusal = gguf.refusal(DecodeStep(model=LLAMA, context=8, weight_format="mxfp4"))
    assert refusal == "weight_format must be one of f32, f16, bf16, int8, int4; got mxfp4"
    assert [gguf.refusal(step) for step in STEPS] == [None] * len(STEPS)


def test_heads_in_llamas_order_are_rotated_as_neighbours() -> None:
    heads = np.random.default_rng(0).standard_normal((4, 64))
    in_order = gguf._paired(heads.T, LLAMA).T
    angles = 5 * 10000.0 ** (-np.arange(32) / 32)
    turned = (in_order[:, 0::2] + 1j * in_order[:, 1::2]) * np.exp(1j * angles)
    wanted = gguf._paired(rotate(heads, 5).T, LLAMA).T
    np.testing.assert_allclose(np.stack([turned.real, turned.imag], -1).reshape(4, 64), wanted, atol=1e-12)


@pytest.mark.parametrize("model", [LLAMA, QWEN2, QWEN3], ids=["llama", "qwen2", "qwen3"])
def test_a_gguf_file_holds_every_weight_once(model: Model) -> None:
    step = DecodeStep(model=model, context=8, weight_format="int4")
    packed = check.draw(step, 0)
    tensors = dict(gguf._tensors(step, packed))
    matrices = [rows.nbytes for rows, kind in tensors.values() if kind == ggml.TYPES["int4"]]
    ours = {name: one for name, one in step.composition.arrays().items() if one.role == "weight"}
    assert sum(matrices) == sum(one.nbytes for one in ours.values() if one.format == "int4")
    vectors = [rows.nbytes for rows, kind in tensors.values() if kind == ggml.TYPES["f32"]]
    assert sum(vectors) == 4 * sum(one.elements for one in ours.values() if one.format != "int4")
    assert ("output.weight" in tensors) is not model.tied


def test_a_saved_sequence_is_cells_then_keys_then_values() -> None:
    keys, values = np.full((3, 8), 7, np.uint8), np.full((3, 8), 9, np.uint8)
    saved = llama._sequence([keys], [values], 1)
    told = saved[: llama._told_bytes(3)].view(np.uint32)
    np.testing.assert_array_equal(told, [1, 3, 0, 1, 0, 1, 1, 0, 2, 1, 0, 0, 1])
    rest = saved[llama._told_bytes(3) :].reshape(2, 12 + 24)
    np.testing.assert_array_equal(rest[:, :12].copy().view(np.uint32), [[1, 8, 0]] * 2)
    np.testing.assert_array_equal(rest[:, 12:], np.repeat([[7], [9]], 24, axis=1))


def test_ggml_blocks_hold_our_codes_behind_our_scales() -> None:
    packed = format_named("int8").pack(np.random.default_rng(0).standard_normal((3, 64), np.float32))
    blocks = ggml.as_blocks(packed, "int8")
    assert blocks.shape == (3, 2 * 34)
    halves = blocks.reshape(3, 2, 34)
    np.testing.assert_array_equal(halves[..., 2:].view(np.int8).reshape(3, 64), packed["values"])
    np.testing.assert_allclose(halves[..., :2].copy().view(np.float16)[..., 0], np.repeat(packed["scales"], 2, 1), rtol=1e-3)
