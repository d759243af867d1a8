"""Decode attention: what is done to scores, by hand and for every model; and shapes beyond those of the examples."""

import functools
import itertools
import math
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.models import model_named
from roofcast.kernels import check
from roofcast.kernels.attention import Attention
from roofcast.kernels.attention.cpu import _attend
from roofcast.kernels.attention.reference import attend, buckets
from roofcast.kernels.formats import format_names
from roofcast.kernels.model import Step
from roofcast.kernels.registry import supported

BACKEND = jax.default_backend()
ALL_AT_ONCE: dict[str, Any] = {"bias": "relative", "softcap": 3.0, "sinks": True}
VARIANTS: list[dict[str, Any]] = [
    *({}, {"sinks": True}, {"softcap": 5.0}, {"bias": "alibi"}, {"bias": "relative"}, ALL_AT_ONCE),
]


def _attention(heads: int, kv_heads: int, context: int, head_dim: int, **other: Any) -> Attention:
    shape = {"heads": heads, "kv_heads": kv_heads, "context": context, "head_dim": head_dim, "value_dim": head_dim}
    return Attention(**(shape | {"scale_dim": head_dim, "kv_format": "bf16"} | other))


def _needs(name: str, context: int = 100) -> dict[str, Attention]:
    needs = Attention.needed_by(Step(model_named(name), context))
    return {need.role: need.workload for need in needs if isinstance(need.workload, Attention)}


def _check(workload: Attention, seed: int = 0) -> None:
    """Every implementation that takes the workload gives the reference's results."""
    packed = check.draw(workload, seed)
    expected = check.expected(workload, packed)
    able = [one for one, refusal in supported(workload, BACKEND) if refusal is None]
    assert able, f"nothing computes {workload.label}"
    for one in able:
        out = jax.jit(functools.partial(one.function, workload))(**jax.tree.map(jnp.array, packed))
        assert check.error(workload, jax.device_get(out), expected) <= workload.tolerance(), one.name


def test_scores_by_hand() -> None:
    query, keys = np.array([[1.0], [1.0]]), np.array([[[0.0], [math.log(3)]]])
    values = np.array([[[4.0], [8.0]]])
    np.testing.assert_allclose(attend(query, keys, values, 1.0), [[7], [7]])
    # A sink takes its share of the weight, and has no value: 4 of 5, of 8 parts.
    np.testing.assert_allclose(attend(query, keys, values, 1.0, sinks=np.log([1.0, 4.0])), [[28 / 5], [28 / 8]])
    bias = np.array([[math.log(3), 0.0], [0.0, 0.0]])
    np.testing.assert_allclose(attend(query, keys, values, 1.0, bias=bias), [[6], [7]])
    capped = 0.5 * math.tanh(math.log(3) / 0.5)
    mean = (4 + 8 * math.exp(capped)) / (1 + math.exp(capped))
    np.testing.assert_allclose(attend(query, keys, values, 1.0, softcap=0.5), [[mean], [mean]])


def test_a_bias_falls_with_the_distance_from_the_newest_token() -> None:
    workload = _attention(2, 1, 4, 8, bias="alibi")
    np.testing.assert_allclose(workload.added(slopes=np.array([0.5, 2.0])), [[-1.5, -1, -0.5, 0], [-6, -4, -2, 0]])
    table = np.stack([np.arange(32.0), -np.arange(32.0)])
    np.testing.assert_allclose(replace(workload, bias="relative").added(table=table), [[3, 2, 1, 0], [-3, -2, -1, 0]])


def test_buckets_of_t5() -> None:
    # Sixteen distances of their own; sixteen more buckets up to 128, each 8^(1/16) = 1.139 times as far as the last.
    found = buckets(np.arange(200))
    assert found[:17].tolist() == list(range(17))
    assert [int(found[distance]) for distance in (18, 19, 20, 21, 23, 24, 63, 64, 112, 113, 128, 199)] == [
        *(16, 17, 17, 18, 18, 19, 26, 26, 30, 31, 31, 31),
    ]
    assert (np.diff(found) >= 0).all()


@pytest.mark.parametrize("name", catalogue.names("model"))
def test_every_model_gets_the_attention_it_has(name: str) -> None:
    model = model_named(name)
    for role, workload in _needs(name).items():
        assert workload.sinks == name.startswith("gpt-oss")
        assert workload.softcap == (50 if name.startswith("gemma-2-") else 0)
        biased = "relative" if name.startswith("t5") else "alibi" if name.startswith(("bloom", "jais")) else ""
        assert workload.bias == ("" if role == "attention_cross" else biased)
        scale = {"gemma-2-27b": 144**-0.5, "gemma-3-27b": 168**-0.5, "jais-13b": 1 / 128, "jais-30b": 1 / 128}
        usual = 1 if name.startswith("t5") else model.head_dim**-0.5
        assert workload.scale == pytest.approx(scale.get(name, usual))


def test_windows_and_cross_attention() -> None:
    assert {role: one.context for role, one in _needs("gemma-2-9b", 8192).items()} == {
        "attention": 8192,
        "attention_window": 4096,
    }
    assert {role: one.context for role, one in _needs("mistral-7b-v0.1", 8192).items()} == {"attention_window": 4096}
    assert set(_needs("t5-base")) == {"attention", "attention_cross"}


LONG = [("bf16", variant) for variant in VARIANTS] + [("int8", {}), ("fp8", ALL_AT_ONCE)]


@pytest.mark.parametrize(("kv_format", "variant"), LONG, ids=str)
def test_a_long_context(kv_format: str, variant: dict[str, Any]) -> None:
    # Models that add a bias alone have as many heads of keys as of queries.
    kv_heads = 4 if variant.keys() == {"bias"} else 2
    _check(_attention(4, kv_heads, 131072, 8, kv_format=kv_format, **variant))


@pytest.mark.parametrize("group", [*range(1, 10), 12, 16])
def test_every_group_size(group: int) -> None:
    """Less than a tile of queries, whole tiles, and tiles with some left over."""
    _check(_attention(2 * group, 2, 150, 24, kv_format="bf16" if group % 3 else "int8"))
    if group > 1:
        _check(_attention(2 * group, 2, 150, 24, **ALL_AT_ONCE))


@settings(max_examples=5)
@given(
    kv_heads=st.integers(1, 3),
    group=st.sampled_from([2, 3, 4, 7]),
    context=st.integers(1, 700),
    head_dim=st.integers(1, 140),
    kv_format=st.sampled_from(format_names("kv")),
    variant=st.sampled_from([{}, ALL_AT_ONCE]),
    seed=st.integers(0, 2**31),
)
def test_odd_shapes(
    kv_heads: int, group: int, context: int, head_dim: int, kv_format: str, variant: dict[str, Any], seed: int
) -> None:
    _check(_attention(kv_heads * group, kv_heads, context, head_dim, kv_format=kv_format, **variant), seed)


@pytest.mark.parametrize("variant", VARIANTS[1:], ids=" ".join)
def test_what_is_done_to_scores_does_something(variant: dict[str, Any]) -> None:
    """Operands of the examples are such that an implementation which forgets a variant is found out."""
    workload = _attention(4, 2, 130, 16, kv_format="f32", **variant)
    packed = check.draw(workload, 0)
    plain = _attention(4, 2, 130, 16, kv_format="f32")
    out = check.expected(plain, {name: packed[name] for name in ("query", "keys", "values")})[0]
    assert check.error(workload, np.float32(out), check.expected(workload, packed)) > 50 * workload.tolerance()


@pytest.mark.parametrize("operand", ["sinks", "slopes", "table"])
def test_a_nan_in_what_is_learned_spoils_its_head_only(operand: str) -> None:
    other = {"sinks": {"sinks": True}, "slopes": {"bias": "alibi"}, "table": {"bias": "relative"}}[operand]
    workload = _attention(6, 2 if operand == "sinks" else 6, 50, 16, **other)
    packed = check.draw(workload, 0)
    packed[operand][2] = np.nan
    for one, refusal in supported(workload, BACKEND):
        if refusal is None:
            out = jax.jit(functools.partial(one.function, workload))(**jax.tree.map(jnp.array, packed))
            assert np.isnan(out).all(1).tolist() == [False, False, True, False, False, False], one.name


def test_kernels_made_by_one_function_have_names_of_their_own() -> None:
    """Machine code from disk is linked by name: one that another kernel shares would run in its place."""
    made = [
        _attend(queries, scaled=scaled, capped=capped, biased=biased)
        for queries, scaled, capped, biased in itertools.product((1, 4), *3 * [(False, True)])
    ]
    assert len({one.body.__qualname__ for one in made}) == len(made) == 16
