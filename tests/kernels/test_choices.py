"""The experts that a step chose, and a reference that follows the choice where float32 cannot tell."""

import numpy as np
import pytest
from roofcast.kernels import check
from roofcast.kernels.model import Mixture, Model
from roofcast.kernels.router import Router
from roofcast.kernels.step import DecodeStep
from scipy.special import expit, softmax

SHAPE = {"d_model": 48, "heads": 4, "kv_heads": 2, "head_dim": 16, "d_ff": 0, "vocab": 101, "max_context": 64}
MIXTURE = Model(name="tiny-mixture", family="decoder", layers=1, mixture=Mixture(experts=8, top_k=2, d_ff_expert=40), **SHAPE)


def test_a_reference_follows_a_tied_choice_of_experts_and_no_other() -> None:
    step = DecodeStep(model=MIXTURE, context=4, weight_format="f32", kv_format="f32")
    packed = check.draw(step, seed=1)
    own = dict(zip(step.results(), check.expected(step, packed), strict=True))
    best, last = own["layers.0.chosen"][:, 0]
    tied, worse, *_ = set(range(8)) - {best, last}
    router = packed["layers.0.router.weight"].copy()
    router[tied] = router[last]
    packed["layers.0.router.weight"] = router

    def judged(*chosen: int) -> dict:
        outputs = own | {"layers.0.chosen": np.array(chosen, np.int32)}
        return dict(zip(own, check.expected(step, packed, tuple(outputs.values())), strict=True))

    for expert in (last, tied):
        np.testing.assert_array_equal(judged(best, expert)["layers.0.chosen"][:, 0], [best, expert])
    assert np.linalg.norm(judged(best, tied)["logits"] - judged(best, last)["logits"]) > 0.01 * np.linalg.norm(own["logits"])
    np.testing.assert_array_equal(judged(best, worse)["logits"], check.expected(step, packed)[-2])
    assert worse not in judged(best, worse)["layers.0.chosen"]


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize("scores", ["softmax", "sigmoid"])
def test_a_router_follows_what_an_error_of_its_logits_explains(scores: str, groups: int) -> None:
    router = Router(experts=8, top_k=2, scores=scores, groups=groups, top_groups=min(2, groups))
    logits = np.array([2.0, -9, 1.0, -9, 0.999, -9, 0.5, -9])
    chosen, weights = router.follow(np.array([0, 4]), 0.01, logits=logits) or ([], [])
    shares = softmax(logits) if scores == "softmax" else expit(logits)
    np.testing.assert_array_equal(chosen, [0, 4])
    np.testing.assert_allclose(weights, shares[[0, 4]] / shares[[0, 4]].sum())
    assert router.follow(np.array([0, 4]), 1e-5, logits=logits) is None
    assert router.follow(np.array([0, 6]), 0.01, logits=logits) is None
    assert router.follow(np.array([0, 0]), 0.01, logits=logits) is None
