"""Experts that lie whole on one chip each: how evenly a token's fall, what that takes, and when it is chosen."""

from collections import Counter
from dataclasses import replace
from itertools import combinations, pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.calibrate.machines import anatomy
from roofcast.harness.calibrate.machines.term import TERMS
from roofcast.harness.calibrate.routing import busiest, dealings
from roofcast.harness.calibrate.runs import Runs
from roofcast.harness.facts.catalogue import names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.envelope import Envelope, Memory, Quantity
from roofcast.harness.facts.models import model_named
from roofcast.harness.predict.answer import Ask, answers, situation
from roofcast.harness.predict.placement import memory_gb, place
from roofcast.kernels.model import Mixture

MIXTURES = [name for name in names("model") if model_named(name).mixture and model_named(name).family == "decoder"]
MACHINES = ("H100_SXM", "MI300X", "A30", "TPU_v5e", "RTX_4090")


def mixture_of(model: str) -> Mixture:
    mixture = model_named(model).mixture
    assert mixture is not None
    return mixture


def sized(capacity_gb: float) -> Envelope:
    chip = device_named("H100_SXM")
    return replace(chip, memories=(Memory("hbm", chip.main.bandwidth_gbs, Quantity(capacity_gb, "a test", "2026", "derived")),))


def spread(model: str, chips: int, device: str = "H100_SXM", bits: float = 16.0):
    alone = situation(Ask(model_named(model), device_named(device), weight_bits=bits))
    return replace(alone, chips=chips, expert_parallel=chips > 1)


def amounts_us(run) -> dict[str, float]:
    found = anatomy(Runs.of([run]))
    return {term: float(amount[0]) for term, amount in zip(TERMS, found.amount_us, strict=True)}


@pytest.mark.parametrize(
    ("experts", "k", "groups", "top"), [(4, 2, 1, 1), (8, 3, 1, 1), (12, 4, 1, 1), (12, 3, 4, 2), (12, 4, 6, 3), (8, 8, 1, 1)]
)
def test_the_busiest_chip_has_the_mean_over_all_choices(experts, k, groups, top):
    mixture = Mixture(experts, k, 1, groups=groups, top_groups=top)
    size = experts // groups
    for chips in dealings(mixture):
        # Choices of groups and then of experts are all as likely, so each pair counts once.
        most = [
            max(Counter(expert // (experts // chips) for expert in chosen).values())
            for these in combinations(range(groups), top)
            for chosen in combinations([group * size + one for group in these for one in range(size)], k)
        ]
        assert busiest(mixture, chips) == pytest.approx(np.mean(most), rel=1e-12)


@pytest.mark.parametrize("model", MIXTURES)
def test_more_chips_are_no_busier_and_never_less_than_evenly_so(model):
    mixture = mixture_of(model)
    numbers = dealings(mixture)
    found = [busiest(mixture, chips) for chips in numbers]
    assert found[0] == mixture.top_k
    assert found[-1] == pytest.approx(1)
    assert all(fewer >= more - 1e-12 for fewer, more in pairwise(found))
    assert all(mixture.top_k / n - 1e-12 <= one <= mixture.experts / n + 1e-12 for n, one in zip(numbers, found, strict=True))


@given(st.sampled_from(MIXTURES), st.data())
@settings(deadline=None)
def test_every_expert_lies_on_one_chip_and_the_rest_on_all(model, data):
    chips = data.draw(st.sampled_from(dealings(mixture_of(model))))
    one, many = spread(model, 1), spread(model, chips)
    experts_gb = float(one.columns.resident_experts_gb[0])
    rest_gb = one.resident_gb - experts_gb + one.kv_gb
    assert 0 < experts_gb < one.resident_gb
    assert chips * memory_gb(many, 0.0) == pytest.approx(memory_gb(one, 0.0) + (chips - 1) * rest_gb)
    # Of each token's bytes, the busiest chip and the token's own read no less than an even share.
    assert many.columns.chip_bytes[0] >= one.weight_bytes / chips * (1 - 1e-12)
    assert many.columns.chip_bytes[0] <= one.weight_bytes * (1 + 1e-12)


@given(st.sampled_from(MIXTURES), st.sampled_from(MACHINES), st.sampled_from([4.0, 8.0, 16.0]), st.data())
@settings(deadline=None)
def test_the_fixed_part_never_beats_the_floor_nor_that_of_perfect_sharing(model, device, bits, data):
    chips = data.draw(st.sampled_from(dealings(mixture_of(model))))
    run = spread(model, chips, device, bits)
    shared = replace(run, expert_parallel=False)
    assert anatomy(run.columns).fixed_us[0] >= run.floor_us * (1 - 1e-12)
    # All chips together can do no better than share every byte.
    all_us = (run.columns.least_bytes[0] + run.columns.kv_bytes[0]) / (chips * run.columns.bandwidth_gbs[0] * 1e3)
    assert run.floor_us >= all_us * (1 - 1e-12)
    assert run.prefill_floor_us >= shared.prefill_floor_us * (1 - 1e-12)


def test_two_all_to_alls_a_mixture_stand_in_for_the_all_reduces():
    one, eight = amounts_us(spread("mixtral-8x7b", 1)), amounts_us(spread("mixtral-8x7b", 8))
    assert eight["all-to-alls"] == 2 * 32
    assert eight["all-reduces"] == 0
    assert eight["group"] == 3
    # Both of a token's experts lie on different chips, and all else is read by the token's own.
    assert eight["experts"] == pytest.approx(one["experts"] / 2)
    assert eight["weights"] == pytest.approx(one["weights"])
    assert eight["kv"] == pytest.approx(one["kv"])
    # DeepSeek-V3 has three dense layers at the bottom.
    assert amounts_us(spread("deepseek-v3-671b", 8))["all-to-alls"] == 2 * (61 - 3)


@pytest.mark.parametrize("model", ["gpt-oss-20b", "mixtral-8x7b"])
def test_on_one_chip_it_is_no_parallelism(model):
    asks = [Ask(model_named(model), device_named("MI300X"), devices=1, price=2.0, parallel=way) for way in ("auto", "ep")]
    plain, forced = answers(asks)
    assert plain.refusal == ""
    assert plain.how == "one chip"
    assert replace(forced, ask=plain.ask) == plain


def test_an_answer_says_how_experts_fall_and_that_nothing_was_fitted():
    (one,) = answers([Ask(model_named("mixtral-8x7b"), device_named("H100_SXM"), devices=4, parallel="ep")])
    assert (one.chips, one.how) == (4, "expert parallel")
    assert {"all-to-alls", "experts", "group"} < set(one.parts_us)
    assert "all-reduces" not in one.parts_us
    assert "how all-to-alls compare with all-reduces" in one.doubts
    assert any("2 whole experts a layer on each; of a token's 2 the busiest device reads 1.14" in note for note in one.notes)
    assert any("no published speed is of such a placement" in note for note in one.notes)
    assert one.tokens_per_s.high <= one.ceiling_tokens_per_s * (1 + 1e-9)


@given(st.sampled_from(MIXTURES), st.floats(min_value=30, max_value=400))
@settings(max_examples=60, deadline=None)
def test_by_default_it_is_taken_only_where_it_needs_fewer_devices(model, capacity_gb):
    asks = [Ask(model_named(model), sized(capacity_gb), parallel=way) for way in ("auto", "tp", "ep")]
    usual, tp, ep = answers(asks)
    chips = [one.chips for one in (tp, ep) if not one.refusal]
    if not chips:
        assert usual.how in ("", "pipeline")
        return
    assert usual.chips == min(chips)
    is_cheaper = not ep.refusal and (bool(tp.refusal) or ep.chips < tp.chips)
    assert usual.how == ("one chip" if usual.chips == 1 else "expert parallel" if is_cheaper else "tensor parallel")
    # A number that was found is answered the same way where it is asked for.
    (again,) = answers([replace(asks[0], devices=usual.chips)])
    assert (again.how, again.tokens_per_s) == (usual.how, usual.tokens_per_s)


def test_where_heads_cannot_be_split_so_whole_experts_can():
    alone = situation(Ask(model_named("llama-4-maverick"), device_named("H100_SXM")))
    assert [place(alone, 0.0, devices=n).how for n in (16, 40)] == ["expert parallel", "tensor parallel"]
