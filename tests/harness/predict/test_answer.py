"""`roofcast predict`: figures that hang together, stay below physics, and say what they rest on."""

import csv
import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.calibrate.decode import calibration, evidence
from roofcast.harness.calibrate.engine import runs_on
from roofcast.harness.calibrate.ranges import Range
from roofcast.harness.calibrate.traffic import active_parameters
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.catalogue import names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.models import model_named
from roofcast.harness.predict.answer import Ask, answers, true_bits


def asked(model="llama-3.1-8b", device="h100", **more):
    (found,) = answers([Ask(model_named(model), device_named(device), **more)])
    return found


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def test_no_point_and_no_bound_beats_the_floor_on_any_machine():
    asks = [
        Ask(model_named(model), device_named(device), weight=weight, weight_bits=bits, devices=devices)
        for model in ("llama-3.2-1b", "gpt3-175b", "gpt-oss-120b")
        for device in names("device")
        for weight, bits in (("bf16", 16.0), ("int4", 4.0))
        for devices in (None, 1)
    ]
    found = [one for one in answers(asks) if not one.refusal]
    assert len(found) > len(asks) / 2
    for one in found:
        speed, ask = one.tokens_per_s, one.ask
        assert 0 < speed.low <= speed.point <= speed.high <= one.ceiling_tokens_per_s * (1 + 1e-9)
        bytes_read = active_parameters(ask.model) * ask.weight_bits / 8
        assert speed.high <= one.chips * ask.device.main.bandwidth_gbs.value * 1e9 / bytes_read
        assert speed.high <= one.chips * ask.device.peak_flops(ask.weight) / (2 * active_parameters(ask.model))
        assert sum(one.parts_us.values()) <= 1e6 / speed.point * (1 + 1e-9)
        assert one.needed_gb <= one.capacity_gb
        if one.ttft_ms is not None:
            assert one.ttft_ms.low >= 2e3 * active_parameters(ask.model) * 0.9 * ask.prompt / (
                one.chips * ask.device.peak_flops("f16")
            )


def test_the_parts_add_up_to_the_point():
    one = asked("gpt3-175b", devices=8)
    assert sum(one.parts_us.values()) == pytest.approx(1e6 / one.tokens_per_s.point)
    assert set(one.parts_us) == {"weights", "kv", "layers", "all-reduces", "group"}
    assert one.bound == "memory"
    assert one.parts_us["weights"] > 2 * 174.56e9 / (8 * 3350e9) * 1e6
    assert sum(one.doubts.values()) == pytest.approx(1, abs=0.05)


def test_energy_and_cost_follow_from_speed():
    one = asked("gpt3-175b", devices=8, price=2.5)
    assert [energy.basis for energy in one.energy] == ["typical", "peak"]
    for energy in one.energy:
        assert energy.joules_per_token.point == pytest.approx(energy.watts.point / one.tokens_per_s.point)
        assert energy.joules_per_token.high >= energy.watts.point / one.tokens_per_s.low * (1 - 1e-9)
    assert one.cost_per_million.point == pytest.approx(2.5 * 8 / 3600 / one.tokens_per_s.point * 1e6)
    assert one.tpot_ms.low == pytest.approx(1e3 / one.tokens_per_s.high)
    assert asked().cost_per_million is None


def test_what_streams_in_is_bound_by_the_link():
    one = asked("gpt3-175b", "wse-3", devices=1)
    assert (one.how, one.bound, one.basis) == ("streamed weights", "link", "specification")
    assert one.ceiling_tokens_per_s == pytest.approx(0.4297, rel=1e-3)
    assert one.tokens_per_s.high < one.ceiling_tokens_per_s
    assert any("stream in for every token over 150 GB/s" in note for note in one.notes)
    several = asked("gpt3-175b", "wse-3")
    assert (several.chips, several.bound) == (9, "latency")
    assert any("0.43 tok/s at most" in note for note in several.notes)


def test_the_basis_says_how_far_the_fit_was_carried():
    assert asked(device="h100").basis == "fitted"
    assert asked(device="h200").basis == "carried"
    assert asked(device="groq").engine == "groq"
    # Of wafers more than one software is published: which one is meant is part of the doubt.
    assert asked(device="wse-3").engine == "unstated"
    assert asked(device="h100").engine == "unstated"
    assert asked(device="h100", engine="TensorRT-LLM 0.9").engine == "tensorrt-llm"
    assert asked(device="wse-3", engine="cerebras at launch").engine == "cerebras at launch"
    with pytest.raises(UsageError, match=r"got 'vlm'; did you mean vllm\b"):
        asked(engine="vlm")


def test_an_engine_that_is_known_narrows_the_interval():
    wide, narrow = (asked(device="a100", engine=engine).tokens_per_s for engine in (None, "gpt-fast"))
    assert narrow.high / narrow.low < wide.high / wide.low


def test_longer_contexts_and_prompts_take_longer():
    short, long = asked(context=128, prompt=128), asked(context=65536, prompt=4096)
    assert long.tokens_per_s.point < short.tokens_per_s.point
    assert long.ttft_ms.point > short.ttft_ms.point
    assert asked(device="apple m2 ultra").ttft_ms is None


def test_a_prompt_has_a_place_of_its_own():
    held, beyond, over = (asked(prompt=prompt) for prompt in (100_000, 200_000, 500_000))
    assert held.ttft_ms.point < beyond.ttft_ms.point
    assert not any("prompt" in note for note in held.notes if "beyond" in note)
    assert any("prompt 200000 is beyond the 131072 that llama-3.1-8b was made for" in note for note in beyond.notes)
    # 500,000 tokens of 32 layers, two times 8 heads of 128 values of two bytes.
    lack_gb = over.needed_gb - 80 + (500_001 - 2048) * 32 * 2 * 8 * 128 * 2 / 1e9
    assert over.ttft_ms is None
    assert any(f"needs {lack_gb:.3g} GB more than the 80 GB" in note for note in over.notes)
    assert asked(prompt=500_000, devices=2).ttft_ms is not None


def test_every_published_speed_is_of_an_engine_that_exists_for_its_machine():
    assert {(run.engine.name, run.device.name) for run in evidence().runs if not runs_on(run.engine, run.device)} == set()


def test_an_engine_answers_only_for_machines_that_it_runs_on():
    found = answers([Ask(model_named("llama-3.1-8b"), device_named(name), engine="llama.cpp") for name in names("device")])
    held = {one.ask.device.name for one in found if not one.refusal}
    assert {"H100_SXM", "MI300X", "Apple_M2_Ultra"} <= held
    assert not {"WSE-3_CS-3", "Groq_LPU_v1", "SN40L", "TPU_v5e", "Gaudi2"} & held
    own = replace(device_named("h100"), name="mine", platform="")
    assert not answers([Ask(model_named("llama-3.1-8b"), own, engine="vllm")])[0].refusal
    assert answers([Ask(model_named("llama-3.1-8b"), own, engine="waferllm")])[0].refusal


def test_low_and_high_are_shown_with_what_they_held(capsys):
    assert cli.run(["predict", "device=h100"]) == cli.OK
    said = f"of {len(evidence().runs)} published speeds they held {calibration().held:.0%} where a fit had not seen"
    assert said in capsys.readouterr().out


def test_true_bits_count_the_scales():
    assert [true_bits(name) for name in ("bf16", "mxfp4", "int4_g128")] == [16, 4.25, pytest.approx(4.125, abs=0.13)]
    assert 8 < true_bits("int8") < 8.1
    assert true_bits("int8", (1, 128)) == 8.25


def test_a_format_holds_all_matrices_of_a_mixture():
    bits = {"int4": 4.5, "int4_g128": 4.125}
    one, other = (
        asked(model="mixtral-8x7b", device="h200", weight=name, weight_bits=bits[name]).ceiling_tokens_per_s for name in bits
    )
    assert other / one == pytest.approx(4.5 / 4.125, rel=0.05)


def test_a_range_keeps_its_order():
    speed, watts = Range(2.0, 4.0, 8.0), Range(6.0, 7.0, 8.0)
    assert speed.under(8.0) == Range(1.0, 2.0, 4.0)
    assert 3.0 in speed
    joint = speed.jointly(watts)
    assert joint.point == 28
    assert math.log(joint.point / joint.low) == pytest.approx(math.hypot(math.log(2), math.log(7 / 6)))
    assert speed.at_least(3.0) == Range(3.0, 4.0, 8.0)


def test_one_machine_is_shown_in_full_and_written_in_three_forms(tmp_path, capsys):
    for ending in ("md", "csv", "json"):
        arguments = ["predict", "model=GPT-3", "device=h100", "devices=8", "price=2.5", f"output=a.{ending}"]
        assert cli.run(arguments) == cli.OK
    shown = capsys.readouterr().out
    for word in ("physical ceiling", "time to first token, prompt of 1024", "energy, typical", "energy, peak", "all-reduces"):
        assert word in shown
    assert "### gpt3-175b in bf16" in (tmp_path / "a.md").read_text()
    (record,) = json.loads((tmp_path / "a.json").read_text())
    with (tmp_path / "a.csv").open(newline="") as file:
        (row,) = csv.DictReader(file)
    assert list(row) == list(record)
    for name in ("tokens_per_s", "tokens_per_s_low", "ttft_ms_high", "power_peak_w", "cost_per_million_tokens"):
        assert float(row[name]) == pytest.approx(record[name], rel=1e-5)
    assert record["devices"] == 8


def test_every_machine_has_a_line_or_a_reason(tmp_path, capsys):
    assert cli.run(["predict", "model=gpt-4", "format=int4", "output=all.json"]) == cli.OK
    records = json.loads((tmp_path / "all.json").read_text())
    assert [one["device"] for one in records] == list(names("device"))
    assert all(bool(one["refusal"]) != ("tokens_per_s" in one) for one in records)
    assert "Apple_M3_10c: model must fit the memory of some number of devices" in capsys.readouterr().out


def test_a_sweep_answers_each(capsys):
    assert cli.run(["predict", "-m", "device=h100,b200", "format=bf16,fp8"]) == cli.OK
    shown = capsys.readouterr().out
    assert shown.count("batch 1, context 2048, on 1x H100_SXM") == shown.count("on 1x B200") == 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["device=h1000"], "got 'h1000'; did you mean H100"),
        (["model=gpt-33"], "got 'gpt-33'; did you mean"),
        (["device=h100", "engine=vlm"], "engine must be one that has been fitted; got 'vlm'; did you mean vllm"),
        (["devices=0"], "devices must be a whole number from 1; got 0"),
        (["prompt=0"], "prompt must be a whole number from 1; got 0"),
        (["price=-1"], "price must be a number above 0 and at most 1e+09, per device and hour; got -1"),
        (["price=0"], "price must be a number above 0"),
        (["price=nan"], "price must be a number above 0"),
        (["price=1e308"], "price must be a number above 0 and at most 1e+09, per device and hour; got 1e+308"),
        (["format.activation=int8"], "format.activation must be one of bf16, f16, f32; got 'int8'"),
        (["device=wse-3", "engine=vllm"], "runs on WSE-3_CS-3 (waferllm, cerebras at launch, cerebras, provider); got 'vllm'"),
        (["device=h100", "engine=mi300x"], "engine must be one that has been fitted; got 'mi300x'"),
        (
            ["device=groq", "parallel=pp"],
            "parallel must be auto on Groq_LPU_v1, where the vendor's compiler lays a static pipeline",
        ),
        (["parallel=eq"], "parallel must be one of auto, tp, ep, pp; got 'eq'"),
        (["output=x.pdf"], "output must be a file ending in .md, .csv or .json; got 'x.pdf'"),
        (
            ["device=h100", "device.memories.hbm.bandwidth_gbs.value=0"],
            "bandwidth_gbs: value must be a number from 1e-06 to 1e+12",
        ),
        (["model=gpt-4", "device=rtx4090"], "cannot be split so finely that it fits 24 GB each of RTX_4090"),
        (["model=gpt-4", "format=f32", "context=100000000"], "model must fit some machine"),
        (["model=bert-base"], "bert-base, an encoder, which has no decode step"),
        (["pric=2"], "pric is not a key of roofcast predict; did you mean price?"),
    ],
)
def test_bad_input_gets_one_sentence(capsys, arguments, sentence):
    assert cli.run(["predict", *arguments]) == cli.USAGE
    out, err = capsys.readouterr()
    (line,) = err.splitlines()
    assert sentence in line
    assert out == ""


@pytest.mark.parametrize("verb", [["predict", "device=h100"], ["table", "grid=true", "device=h100", "context=2048"]])
def test_predicting_imports_neither_jax_nor_scipy(verb):
    script = (
        f"import sys; from roofcast.harness import cli; assert cli.run({verb}) == 0; "
        "sys.exit(bool({'jax', 'scipy'} & set(sys.modules)) and 'JAX or SciPy was imported')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_without_an_engine_a_wafer_is_doubted_widely_enough_to_hold_what_was_published():
    one = asked(device="wse-3")
    for row, run in zip(evidence().rows, evidence().runs, strict=True):
        if (run.device.name, run.model.name) == ("WSE-3_CS-3", "llama-3.1-8b"):
            assert row.tok_s in one.tokens_per_s
    assert one.parts_us["round trip"] > 0


@pytest.mark.parametrize("weight", ["int4", "fp8"])
def test_the_physical_ceiling_is_the_same_for_every_engine(weight):
    bits = true_bits(weight)
    found = [asked(weight=weight, weight_bits=bits, engine=engine) for engine in (None, "vllm", "llama.cpp")]
    assert len({one.ceiling_tokens_per_s for one in found}) == 1
    # Engines that leave the LM head at 16 bits keep both tables of the vocabulary so.
    wide, narrow = (one.needed_gb for one in found[1:])
    assert wide - narrow == pytest.approx(2 * 128000 * 4096 * (16 - bits) / 8e9, rel=1e-2)
