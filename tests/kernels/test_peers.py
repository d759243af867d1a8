"""Other libraries compute what our references say, where they are installed, and are refused in words elsewhere."""

from typing import Any

import numpy as np
import pytest
from roofcast.harness.measure.prove import PEER_TOLERANCE
from roofcast.kernels import check
from roofcast.kernels.attention import Attention
from roofcast.kernels.formats import format_named
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.libraries import ggml, pytorch
from roofcast.kernels.op import Workload
from roofcast.kernels.registry import implementations

HEADS: dict[str, Any] = {"head_dim": 64, "value_dim": 64, "scale_dim": 64}
CALLS: list[Workload] = [
    *(Gemv(n=96, k=256, weight_format=name) for name in ("f32", "bf16", "int8")),
    *(Attention(heads=8, kv_heads=2, context=50, kv_format=name, **HEADS) for name in ("f32", "bf16")),
    Attention(heads=4, kv_heads=4, context=33, kv_format="f32", **HEADS),
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
        assert check.error(call, run(), check.expected(call, packed)) <= PEER_TOLERANCE


def test_numpy_is_always_there() -> None:
    (numpy,) = (one for one in implementations("gemv") if one.name == "peers.numpy")
    assert numpy.missing() is None
    assert numpy.refuses(CALLS[0]) is None


def test_what_a_library_cannot_take_is_refused_in_words() -> None:
    assert pytorch.refusal(weight="int8") == "weight must be one of f32, bf16, f16; got int8"
    assert ggml.refusal("fp8", 256) == "weight_format must be one of f32, f16, bf16, int8, int4; got fp8"
    assert ggml.refusal("int8", 100) == "k must be a multiple of 32 for int8; got 100"


def test_ggml_blocks_hold_our_codes_behind_our_scales() -> None:
    packed = format_named("int8").pack(np.random.default_rng(0).standard_normal((3, 64), np.float32))
    blocks = ggml.as_blocks(packed, "int8")
    assert blocks.shape == (3, 2 * 34)
    halves = blocks.reshape(3, 2, 34)
    np.testing.assert_array_equal(halves[..., 2:].view(np.int8).reshape(3, 64), packed["values"])
    np.testing.assert_allclose(halves[..., :2].copy().view(np.float16)[..., 0], np.repeat(packed["scales"], 2, 1), rtol=1e-3)
