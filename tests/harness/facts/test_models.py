"""Model files and mappings of fields."""

from decimal import Decimal
from typing import Any

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.models import model_from, model_named
from roofcast.harness.steps.workloads import calls, resident_elements
from roofcast.kernels.model import Step

NAMES = catalogue.names("model")

SMALL: dict[str, Any] = {
    "family": "decoder",
    "layers": 2,
    "d_model": 64,
    "heads": 4,
    "kv_heads": 2,
    "head_dim": 16,
    "d_ff": 128,
    "vocab": 100,
    "max_context": 512,
}
MIXTURE = {"experts": 4, "top_k": 2, "d_ff_expert": 32}
LATENT = {"q_lora": 24, "kv_lora": 32, "qk_nope": 8, "qk_rope": 8, "v": 12}


@pytest.mark.parametrize("name", NAMES)
def test_every_file_is_a_model_with_a_source(name: str) -> None:
    facts = catalogue.facts("model", name)
    assert facts["name"] == model_named(name).name == name
    assert len(facts["source"]) > 10
    assert facts["confidence"] in ("found", "partial", "memory", "rumour")
    assert set(facts["counted"]) == {"params_b", "weights_streamed_b", "kv_elements"}


@pytest.mark.parametrize("name", NAMES)
def test_a_difference_is_explained_where_and_only_where_there_is_one(name: str) -> None:
    facts = catalogue.facts("model", name)
    published = Decimal(str(facts["published_params_b"]))
    half_a_unit = Decimal(5).scaleb(int(published.as_tuple().exponent) - 1)
    counted = Decimal(resident_elements(calls(Step(model_named(name), 1)))).scaleb(-9)
    assert ("difference" in facts) == (abs(counted - published) > half_a_unit)
    if "difference" in facts:
        assert facts["difference"].endswith(".")
        assert len(facts["difference"]) > 40


def test_defaults_and_nested_fields() -> None:
    model = model_from(SMALL | {"mixture": MIXTURE, "window": {"size": 8}, "latent": LATENT, "source": "here"}, "mine")
    assert model.name == "mine"
    assert model.mixture is not None
    assert model.mixture.shared_experts == 0
    assert model.window is not None
    assert model.window.local == 1
    assert model.latent is not None
    assert (model.norm, model.tied, model.logit_softcap) == ("rmsnorm", False, 0.0)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": -3}, r"model\.layers must be an integer from 1 to 10000; got -3"),
        ({"layers": 0}, r"model\.layers must be an integer from 1 to 10000; got 0"),
        ({"layers": True}, r"model\.layers must be an integer from 1 to 10000; got True"),
        ({"d_model": 64.0}, r"model\.d_model must be an integer from 1 to 1000000; got 64\.0"),
        ({"d_ff": -1}, r"model\.d_ff must be an integer from 0 to 1000000; got -1"),
        ({"d_ff": 0}, r"model\.d_ff must be an integer from 1 unless every layer is a mixture; got 0"),
        ({"vocab": "many"}, r"model\.vocab must be an integer from 1 to 100000000; got 'many'"),
        ({"gated": "yes"}, r"model\.gated must be true or false; got 'yes'"),
        ({"family": "codec"}, r"model\.family must be one of decoder, encoder, encoder-decoder; got 'codec'"),
        ({"activation": ["silu"]}, r"model\.activation must be one of silu, gelu, relu; got \['silu'\]"),
        ({"logit_softcap": float("nan")}, r"model\.logit_softcap must be a number from 0 to 1000000; got nan"),
        ({"source": 5}, r"model\.source must be a text; got 5"),
        ({"aliases": "x"}, r"model\.aliases must be a list of texts; got 'x'"),
        ({"counted": [1]}, r"model\.counted must be a mapping of numbers; got \[1\]"),
        ({"counted": {"params_b": "1"}}, r"model\.params_b must be a number; got '1'"),
        ({"layers": 10**9}, r"model\.layers must be an integer from 1 to 10000; got 1000000000"),
        (
            {"mixture": MIXTURE | {"experts": 10**11}},
            r"model\.mixture\.experts must be an integer from 1 to 4096; got 100000000000",
        ),
        ({"kv_heads": 3}, r"model\.kv_heads must divide heads, which is 4; got 3"),
        ({"kv_heads": 8}, r"model\.kv_heads must divide heads, which is 4; got 8"),
        ({"head_dim": 15}, r"model\.head_dim must be even, for RoPE rotates pairs; got 15"),
        ({"layer": 2}, r"model\.layer is not a field; did you mean layers\?"),
        ({"zzz": 2}, r"model\.zzz is not a field; fields are name, family, layers"),
        ({"mixture": 8}, r"model\.mixture must be a mapping with experts, top_k, .*, or null; got 8"),
        ({"mixture": {"experts": 4}}, r"model\.mixture\.top_k must be given: an integer from 1"),
        ({"mixture": MIXTURE | {"top_k": 5}}, r"model\.mixture\.top_k must be at most experts, which is 4; got 5"),
        ({"mixture": MIXTURE | {"groups": 3}}, r"model\.mixture\.groups must divide experts, which is 4; got 3"),
        ({"mixture": MIXTURE | {"top_groups": 2}}, r"model\.mixture\.top_groups must be at most groups, which is 1; got 2"),
        (
            {"mixture": MIXTURE | {"groups": 4}},
            r"model\.mixture\.top_k must be at most 1, the experts in top_groups groups; got 2",
        ),
        (
            {"mixture": MIXTURE | {"scores": "relu"}},
            r"model\.mixture\.scores must be one of softmax, sigmoid; got 'relu'",
        ),
        ({"mixture": MIXTURE | {"expert": 5}}, r"model\.mixture\.expert is not a field; did you mean experts\?"),
        ({"mixture": MIXTURE | {"first_dense_layers": 2}}, r"model\.mixture must leave at least one of the 2 layers a mixture"),
        ({"mixture": MIXTURE | {"layer_step": 3}}, r"model\.mixture must leave at least one of the 2 layers a mixture"),
        ({"window": {"size": 8, "local": 0}}, r"model\.window\.local must be an integer from 1 where window\.full is 0; got 0"),
        (
            {"latent": LATENT | {"qk_nope": 9}},
            r"model\.head_dim must be latent\.qk_nope \+ latent\.qk_rope, which is 17; got 16",
        ),
        ({"latent": LATENT | {"qk_nope": 9, "qk_rope": 7}}, r"model\.latent\.qk_rope must be even, .* got 7"),
    ],
)
def test_bad_fields_are_named(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        model_from(SMALL | changes, "mine")


@pytest.mark.parametrize("field", SMALL)
def test_missing_fields_are_named(field: str) -> None:
    with pytest.raises(UsageError, match=rf"model\.{field} must be given: "):
        model_from({name: value for name, value in SMALL.items() if name != field}, "mine")
