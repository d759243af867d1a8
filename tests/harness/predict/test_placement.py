"""Where a model goes: the fewest chips that hold it, a forced number, or weights that stream in."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.envelope import Envelope, Memory, Quantity
from roofcast.harness.facts.models import model_named
from roofcast.harness.facts.power import power
from roofcast.harness.predict.answer import Ask, situation
from roofcast.harness.predict.placement import memory_gb, place, streamed

ACTIVATIONS_GB = 0.01


def run(model: str, device: str | Envelope, bits: float = 16.0, context: int = 2048):
    chip = device_named(device) if isinstance(device, str) else device
    return situation(Ask(model_named(model), chip, weight_bits=bits, context=context))


def sized(capacity_gb: float) -> Envelope:
    one = Quantity(capacity_gb, "a test", "2026", "derived")
    chip = device_named("H100")
    return replace(chip, memories=(Memory("hbm", chip.main.bandwidth_gbs, one),))


@pytest.mark.parametrize(
    ("model", "device", "bits", "chips", "how"),
    [
        ("llama-3.1-8b", "wse-3", 16, 1, "one chip"),
        ("gpt3-175b", "wse-3", 16, 9, "pipeline"),
        ("gpt3-175b", "wse-3", 8, 5, "pipeline"),
        ("gpt3-175b", "wse-3", 4, 3, "pipeline"),
        ("gpt3-175b", "h100", 16, 6, "tensor parallel"),
        ("llama-3.1-70b", "h100", 16, 2, "tensor parallel"),
        ("llama-2-70b", "groq", 8, 303, "static pipeline"),
    ],
)
def test_the_fewest_chips_that_hold_it(model, device, bits, chips, how):
    found = place(run(model, device, bits), ACTIVATIONS_GB)
    assert (found.run.chips, found.how, found.streamed_bytes) == (chips, how, 0)
    assert found.needed_gb <= found.capacity_gb


@given(st.floats(min_value=8, max_value=400), st.sampled_from(["tp", "pp"]))
def test_what_is_placed_fits_and_one_way_with_fewer_does_not(capacity_gb, parallel):
    alone = run("llama-3.1-70b", sized(capacity_gb))
    found = place(alone, ACTIVATIONS_GB, parallel=parallel)
    assert found.needed_gb <= capacity_gb
    for fewer in range(1, found.run.chips):
        if parallel == "pp" or 64 % fewer == 0:
            assert memory_gb(replace(found.run, chips=fewer, pipeline=parallel == "pp"), ACTIVATIONS_GB) > capacity_gb


def test_a_cache_is_split_over_no_more_chips_than_it_has_heads():
    alone = run("llama-3.1-70b", "h100", context=131072)
    eight, sixteen = (place(alone, 0.0, devices=chips) for chips in (8, 16))
    assert alone.kv_gb == pytest.approx(80 * 2 * 8 * 128 * 131072 * 2 / 1e9)
    assert eight.needed_gb == pytest.approx((alone.resident_gb + alone.kv_gb) / 8)
    assert sixteen.needed_gb == pytest.approx(alone.resident_gb / 16 + alone.kv_gb / 8)


def test_a_pipeline_holds_whole_layers():
    found = place(run("gpt3-175b", "wse-3"), 0.0)
    assert found.needed_gb == pytest.approx((found.run.resident_gb + found.run.kv_gb) * 11 / 96)
    assert found.run.streams == 1


def test_what_does_not_fit_the_forced_number_streams_over_the_link():
    alone = run("gpt3-175b", "wse-3")
    wafer = place(alone, ACTIVATIONS_GB, devices=1)
    assert wafer.how == "streamed weights"
    assert wafer.streamed_bytes == alone.weight_bytes
    # Nothing of the weights stays on a wafer.
    assert wafer.needed_gb == pytest.approx(alone.kv_gb + ACTIVATIONS_GB)
    assert 1e6 / wafer.link_floor_us == pytest.approx(150e9 / (174.56e9 * 2), rel=1e-3)
    node = run("gpt3-175b", "h100")
    kept = place(node, ACTIVATIONS_GB, devices=2)
    room = 160 - node.kv_gb - 2 * ACTIVATIONS_GB
    assert kept.streamed_bytes == pytest.approx((1 - room / node.resident_gb) * node.weight_bytes)
    assert kept.link_gbs == 2 * 51
    assert kept.needed_gb == pytest.approx(80)
    assert not kept.run.pipeline
    piped = place(node, ACTIVATIONS_GB, devices=2, parallel="pp")
    assert (piped.how, piped.run.pipeline) == ("streamed weights", True)
    assert streamed(run("gpt3-175b", "wse-3", context=200_000), 0.0) is None


@pytest.mark.parametrize(
    ("model", "device", "devices", "parallel", "sentence"),
    [
        ("gpt-4", "rtx4090", None, "auto", "gpt-4-rumoured needs 3,677 GB and cannot be split so finely that it fits 24 GB"),
        ("llama-3.1-70b", "rtx4090", 2, "auto", "got 2, it needs 8"),
        ("llama-3.1-70b", "h100", 3, "tp", "devices must divide the 64 heads of llama-3.1-70b; got 3"),
        ("llama-3.1-70b", "h100", 81, "pp", "devices must be at most the 80 layers of llama-3.1-70b; got 81"),
        ("llama-3.1-70b", "apple m1 max", 3, "auto", "devices must be 1 on Apple_M1_Max, for no link"),
        ("gpt3-175b", "wse-3", None, "tp", "parallel must be pp or auto on WSE-3_CS-3"),
        ("llama-2-70b", "groq", None, "tp", "parallel must be auto on Groq_LPU_v1"),
        ("gpt-oss-120b", "groq", None, "ep", "parallel must be auto on Groq_LPU_v1"),
        ("gpt-oss-120b", "wse-3", 8, "ep", "parallel must be pp or auto on WSE-3_CS-3, for no all-to-all between several"),
        ("gpt-oss-20b", "apple m1 max", None, "ep", "parallel must be pp or auto on Apple_M1_Max, for no all-to-all"),
        ("llama-3.1-8b", "h100", None, "ep", "parallel must be auto, tp or pp for llama-3.1-8b, which is no mixture of"),
        ("mixtral-8x7b", "h100", 3, "ep", "devices must be one of 1, 2, 4, 8, which deal evenly the 8 experts of mixtral-8x7b"),
        ("deepseek-v3", "h100", 16, "ep", "devices must be enough to hold deepseek-v3-671b, .* got 16, it needs 32"),
    ],
)
def test_what_fits_nowhere_is_one_sentence(model, device, devices, parallel, sentence):
    with pytest.raises(UsageError, match=sentence):
        place(run(model, device), ACTIVATIONS_GB, devices, parallel)


def test_a_machine_without_a_known_memory_holds_nothing():
    chip = device_named("H100")
    bare = replace(chip, memories=(Memory("hbm", chip.main.bandwidth_gbs),))
    with pytest.raises(UsageError, match="that of H100_SXM is not known"):
        place(run("llama-3.1-8b", bare), ACTIVATIONS_GB)


def test_power_of_a_node_goes_before_that_of_its_chips_and_bases_are_apart():
    chip, wafer = device_named("H100"), device_named("wse-3")
    eight, two = power(chip, 8, "typical"), power(chip, 2, "peak")
    assert eight is not None
    assert two is not None
    assert (eight.low, eight.point, eight.high) == (6500, 7500, 8500)
    assert (two.point, two.scope) == (pytest.approx(10200 / 4), "2 of 8 chips of a node")
    assert [power(wafer, 9, basis).point for basis in ("typical", "peak")] == [135_000, 207_000]
    assert power(device_named("b200"), 1, "typical") is None
    assert power(device_named("b200"), 2, "peak").point == 2000
