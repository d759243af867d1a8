"""`roofcast claims`: every figure of the table is computed, and comes out as physics says."""

import csv
import json
import re
import sys
from importlib.resources import files
from pathlib import Path

import pytest
from roofcast.harness import claims as claiming
from roofcast.harness import cli
from roofcast.harness.claims.article import claims
from roofcast.harness.facts.catalogue import read_yaml

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def found():
    return {one.id: one.finding for one in claims()[1]}


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def at_bits(finding, name):
    return [finding.figures[f"{name}_at_{bits}_bits"] for bits in (16, 8, 4)]


def test_there_are_fourteen_and_each_has_its_own_words_a_ground_and_a_verdict(found):
    assert list(found) == list(range(1, 15))
    assert all(one.allows and one.verdict for one in found.values())
    assert claims()[0].endswith("AINews, May 2026")


@pytest.mark.parametrize(
    ("number", "verdict"),
    [
        (1, r"false: 2.6 trillion is the figure of WSE-2_CS-2"),
        (2, r"true; no published decode speed uses more than 0\.\d\d% of that bandwidth"),
        (3, r"true, as a peak"),
        (4, r"impossible as stated: it does not fit; conceivable on 9 wafers"),
        (5, r"impossible as stated at 16, 8, 4 bits"),
        (6, r"impossible on one WSE-3_CS-3.*; conceivable on 8x H100_SXM; the prompt's length is not stated"),
        (7, r"mixed bases: .* needs 9, which draw 135 kW typical"),
        (8, r"false at any of these widths"),
        (9, r"false: batch 1 is where it helps least"),
        (10, r"true, on a shape that nobody has confirmed"),
        (11, r"true of what fits one wafer; gpt3-175b does not"),
        (12, r"all 13 can be asked about here; no published speeds name Cerebras Model Zoo.*; BERT has no decode step"),
        (13, r"sizes true, .* no model is named: Argonne \(WSE-1_CS-1\), Mayo Clinic \(WSE-2_CS-2\)"),
        (14, r"not decidable without prices"),
    ],
)
def test_verdicts(found, number, verdict):
    assert re.match(verdict, found[number].verdict)


def test_a_model_of_175b_does_not_fit_and_streams_at_the_speed_of_the_link(found):
    one = found[4]
    assert one.figures["weights_read_b"] == pytest.approx(174.6, abs=0.05)
    assert at_bits(one, "weights_gb") == pytest.approx([349, 174.6, 87.3], rel=2e-3)
    assert at_bits(one, "streamed_ceiling_tokens_per_s") == pytest.approx([0.43, 0.86, 1.72], rel=3e-3)
    assert at_bits(one, "kept_ceiling_tokens_per_s") == pytest.approx([150 / 305.1, 150 / 130.6, 150 / 43.3], rel=2e-3)
    assert at_bits(one, "wafers") == [9, 5, 3]
    assert one.figures["layer_us"] == pytest.approx(18.9, abs=0.05)
    assert one.figures["least_bits"] == pytest.approx(2.02, abs=0.01)
    assert "imply 17.4 to 27.8" in one.predicts


def test_the_node_of_eight_has_a_roofline_below_what_is_claimed(found):
    one = found[5]
    assert at_bits(one, "ceiling_tokens_per_s") == pytest.approx([76.8, 153.5, 307], rel=1e-3)
    assert one.figures["least_bits"] == pytest.approx(26800 * 8 / 174.56 / 320, rel=1e-3)
    for predicted, ceiling in zip(at_bits(one, "predicted_tokens_per_s"), at_bits(one, "ceiling_tokens_per_s"), strict=True):
        assert predicted < ceiling
    assert "18.6 (GPT-3-175B, FasterTransformer" in one.predicts
    assert "22.7 (BLOOM-176B, DeepSpeed" in one.predicts


def test_first_tokens_wait_for_one_pass_over_the_link(found):
    one = found[6]
    assert at_bits(one, "one_pass_over_link_s") == pytest.approx([2.33, 1.164, 0.582], rel=2e-3)
    assert one.figures["longest_prompt"] == pytest.approx(0.12 * 8 * 989.4e12 / (2 * 174.56e9), rel=1e-3)


def test_power_is_set_against_power_of_its_own_basis(found):
    figures = found[7].figures
    assert (figures["wafer_typical_w"], figures["wafer_peak_w"]) == (15_000, 23_000)
    assert (figures["node_typical_w"], figures["node_peak_w"]) == (7_500, 10_200)
    assert figures["typical_ratio"] == 2
    assert figures["wafers_needed_typical_w"] == 135_000


def test_capacity_streaming_and_larger_models(found):
    assert at_bits(found[8], "holds_b") == [22, 44, 88]
    assert at_bits(found[8], "wafers") == [10, 5, 3]
    assert at_bits(found[9], "ceiling_tokens_per_s") == at_bits(found[4], "streamed_ceiling_tokens_per_s")
    assert at_bits(found[9], "batch") == pytest.approx([1280, 640, 320], rel=1e-3)
    assert at_bits(found[10], "wafers_by_capacity") == [84, 42, 21]
    assert found[13].figures == {"needed_gb": pytest.approx(26.0, abs=0.1), "devices": 1}
    assert 0 < found[11].figures["all_reduce_share"] < 0.5
    assert found[12].figures["missing"] == 0


def test_nothing_is_typed_in_but_the_claims_own_words():
    given = read_yaml(files(claiming) / "article.yaml")
    assert {frozenset(one) for one in given["claims"]} == {frozenset({"id", "claim", "stated", "check", "given"})}


def test_the_table_is_shown_and_written_in_three_forms(tmp_path, capsys):
    for ending in ("md", "csv", "json"):
        assert cli.run(["claims", f"output=c.{ending}"]) == cli.OK
    assert "Claims about wafer-scale decode" in capsys.readouterr().out
    with (tmp_path / "c.csv").open(newline="") as file:
        rows = list(csv.reader(file))[2:]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 15)]
    assert json.loads((tmp_path / "c.json").read_text())["claims"][7]["finding"]["figures"]["holds_b_at_4_bits"] == 88


def test_the_table_that_is_kept_is_the_one_that_the_command_writes(tmp_path):
    assert cli.run(["claims", "output=c.md"]) == cli.OK
    (new, new_figures), (kept, kept_figures) = (
        taken_apart(path) for path in (tmp_path / "c.md", ROOT / "results" / "claims.md")
    )
    assert new == kept, "generate it anew: roofcast claims output=results/claims.md"
    # Another linear algebra library may round the last digit that is shown the other way.
    assert new_figures == pytest.approx(kept_figures, rel=0.02)


def taken_apart(path):
    """A file's words, and its figures."""
    text = re.sub(r"[ -]{2,}", " ", path.read_text())
    return re.sub(r"[\d.,]*\d", "#", text), [
        float(one.replace(",", "")) for one in re.findall(r"[\d.,]*\d", text) if one.count(".") < 2
    ]


def test_bad_input_gets_one_sentence(capsys):
    assert cli.run(["claims", "output=c.pdf"]) == cli.USAGE
    assert "output must be a file ending in .md, .csv or .json; got 'c.pdf'" in capsys.readouterr().err
    assert cli.run(["claims", "outptu=c.md"]) == cli.USAGE
    assert "outptu is not a key of roofcast claims; did you mean output?" in capsys.readouterr().err
