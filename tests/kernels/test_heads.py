"""The up-projections of latent attention: what a token reads of them, and that absorbing them changes no result."""

import numpy as np
import pytest
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps.workloads import calls
from roofcast.kernels import check
from roofcast.kernels.attention.reference import attend
from roofcast.kernels.heads import HeadGemv
from roofcast.kernels.heads.reference import head_gemv
from roofcast.kernels.model import Formats, Step

DEEPSEEK = model_named("deepseek-v3-671b")


def test_a_token_reads_both_up_projections_whole_and_once() -> None:
    needs = {need.role: need for need in HeadGemv.needed_by(Step(DEEPSEEK, 100))}
    up, out = needs["key_up"], needs["value_up"]
    assert [need.workload.label for need in (up, out)] == ["heads 128x512x128 bf16", "heads 128x128x512 bf16"]
    for need in (up, out):
        cost = need.workload.cost()
        assert cost.streamed_bytes == 128 * 128 * 512 * 2
        assert cost.flops == 2 * 128 * 128 * 512
        assert (need.count, need.resident) == (61, 61 * 128 * 128 * 512)
    assert up.workload.cost().reads["x"] == out.workload.cost().writes["y"] == 128 * 128 * 4
    assert up.workload.cost().writes["y"] == out.workload.cost().reads["x"] == 128 * 512 * 4


def test_only_latent_attention_has_them() -> None:
    assert list(HeadGemv.needed_by(Step(model_named("llama-3.2-1b"), 100))) == []


def test_they_run_around_attention() -> None:
    roles = [need.role for need in calls(Step(DEEPSEEK, 100))]
    where = [roles.index(role) for role in ("query_up", "kv_down", "key_up", "attention", "value_up", "attention_out")]
    assert where == sorted(where)


@pytest.mark.parametrize(("name", "bytes_per_row"), [("f32", 20), ("bf16", 10), ("int8", 9), ("fp8", 9)])
def test_weights_at_their_true_width(name: str, bytes_per_row: int) -> None:
    latent = [need.workload for need in HeadGemv.needed_by(Step(DEEPSEEK, 1, Formats(weight=name)))]
    assert all(workload.axes()["weight_format"] == name for workload in latent)
    assert HeadGemv(heads=3, n=7, k=5, weight_format=name).cost().streamed_bytes == 3 * 7 * bytes_per_row


def test_absorbed_attention_is_attention_over_the_keys_and_values_that_the_latent_stands_for() -> None:
    heads, context, lora, nope, rope, v = 3, 11, 8, 5, 2, 4
    shapes = {
        "query": (heads, nope + rope),
        "latent": (context, lora),
        "rotated": (context, rope),
        "key_up": (heads, nope, lora),
        "value_up": (heads, v, lora),
    }
    generator = np.random.default_rng(0)
    given = {name: generator.standard_normal(shape) for name, shape in shapes.items()}
    keys = np.concatenate(
        [given["latent"] @ given["key_up"].swapaxes(1, 2), np.broadcast_to(given["rotated"], (heads, context, rope))], axis=-1
    )
    values = given["latent"] @ given["value_up"].swapaxes(1, 2)
    scale = (nope + rope) ** -0.5
    plain = attend(given["query"], keys, values, scale)

    absorbed = head_gemv(given["key_up"].swapaxes(1, 2), given["query"][:, :nope])
    query = np.concatenate([absorbed, given["query"][:, nope:]], axis=-1)
    cache = np.concatenate([given["latent"], given["rotated"]], axis=-1)[None]
    out = head_gemv(given["value_up"], attend(query, cache, cache[..., :lora], scale))
    np.testing.assert_allclose(out, plain, rtol=1e-12)


def test_every_head_has_its_own_matrix() -> None:
    workload = HeadGemv(heads=4, n=6, k=9, weight_format="f32")
    packed = check.draw(workload, 0)
    before = check.expected(workload, packed)[0].copy()
    packed["weight"][2] = 0
    after = check.expected(workload, packed)[0]
    assert (after != before).any(1).tolist() == [False, False, True, False]
