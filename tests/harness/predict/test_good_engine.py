"""`engine=good`: the faster half of the engines that run on a machine, their differences in the interval."""

import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness import cli
from roofcast.harness.calibrate.interval import Z_80
from roofcast.harness.calibrate.ranges import Range
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.models import model_named
from roofcast.harness.predict.answer import Ask, answers
from roofcast.harness.predict.good_engine import good_answers, mixture


def good(device, model="llama-3.1-8b", **more):
    (found,) = good_answers([Ask(model_named(model), device_named(device), **more)])
    return found


def one_engine(device, engine, model="llama-3.1-8b", **more):
    (found,) = answers([Ask(model_named(model), device_named(device), engine=engine, **more)])
    return found


def test_it_is_faster_than_one_of_which_nothing_is_known_and_spans_its_members():
    found = good("h100")
    note = next(note for note in found.notes if note.startswith("good: the faster half of the "))
    names = note.partition("platform: ")[2].partition("; nearest")[0].split(", ")
    members = [one_engine("h100", name).tokens_per_s for name in names]
    assert found.tokens_per_s.point > one_engine("h100", None).tokens_per_s.point
    assert min(one.low for one in members) <= found.tokens_per_s.low <= found.tokens_per_s.point
    assert found.tokens_per_s.high <= min(found.ceiling_tokens_per_s, max(one.high for one in members) * (1 + 1e-9))
    assert "xla" not in names
    assert one_engine("h100", "accelerate").tokens_per_s.point < min(one.point for one in members)


@pytest.mark.parametrize("device", ["h100", "mi300x", "apple m2 ultra", "wse-3", "groq", "tpu v5e", "gaudi2"])
def test_its_figures_hang_together_on_every_kind_of_machine(device):
    found = good(device, price=2.0)
    assert found.engine == "good"
    assert 0 < found.tokens_per_s.low <= found.tokens_per_s.point <= found.tokens_per_s.high <= found.ceiling_tokens_per_s
    assert sum(found.parts_us.values()) == pytest.approx(1e6 / found.tokens_per_s.point)
    assert sum(found.doubts.values()) == pytest.approx(1, abs=0.05)
    assert found.cost_per_million.point == pytest.approx(2.0 * found.chips / 3600 / found.tokens_per_s.point * 1e6)
    for energy in found.energy:
        assert energy.joules_per_token.point == pytest.approx(energy.watts.point / found.tokens_per_s.point)


def test_a_mixture_of_one_is_itself_and_of_two_spans_both():
    one = Range(8.0, 10.0, 12.0)
    assert mixture([one]).low == pytest.approx(8.0, rel=0.01)
    assert mixture([one]).high == pytest.approx(12.0, rel=0.01)
    two = mixture([one, Range(80.0, 100.0, 120.0)])
    assert two.low < 10.0 < two.point < 100.0 < two.high


@given(st.lists(st.tuples(*[st.floats(1, 100)] * 3).map(sorted), min_size=1, max_size=5))
def test_a_mixture_holds_four_fifths_of_its_members(ends):
    ranges = [Range(*one) for one in ends]
    found, draws = mixture(ranges), np.random.default_rng(0).standard_normal(20_000)
    inside = []
    for one in ranges:
        down, up = (math.log(ratio) / Z_80 for ratio in (one.point / one.low, one.high / one.point))
        drawn = one.point * np.exp(draws * np.where(draws < 0, down, up))
        inside.append(np.mean((drawn >= found.low * (1 - 1e-9)) & (drawn <= found.high * (1 + 1e-9))))
    assert np.mean(inside) >= 0.77


def test_what_fits_nowhere_says_so_as_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    assert cli.run(["predict", "model=gpt-4", "device=rtx4090", "engine=good"]) == cli.USAGE
    assert "cannot be split so finely" in capsys.readouterr().err
    assert cli.run(["predict", "engine=good", "output=all.json"]) == cli.OK
    records = json.loads(Path("all.json").read_text())
    assert all(bool(one["refusal"]) != ("tokens_per_s" in one) for one in records)
    assert {one["engine"] for one in records if not one["refusal"]} == {"good"}
