"""`roofcast validate`: the evidence cross-validated, other files predicted, bad lines refused."""

import csv
import subprocess
import sys
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from roofcast import conf
from roofcast.harness import cli
from roofcast.harness.calibrate.cross_validation import held_out
from roofcast.harness.calibrate.decode import EVIDENCE, Calibration, as_yaml, calibration, evidence, parameters
from roofcast.harness.calibrate.interval import CARRIED, huber
from roofcast.harness.calibrate.published import read
from roofcast.harness.calibrate.step_model import design, fit, predict
from roofcast.harness.validation.published import CROSS_VALIDATED, LEVELS, Score, Verdict, validate

COLUMNS = "id,hardware,n_chips,parallelism,model,weight_bits,context,engine,tok_s,metric_note"


@pytest.fixture(scope="module")
def cross_validated() -> list[Verdict]:
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        return validate(*read(file))


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def test_unseen_groups_are_predicted_as_well_as_we_say(cross_validated):
    score = Score.of(cross_validated)
    assert score.median <= 0.09
    assert score.tail <= 0.30
    assert 0.73 <= score.inside <= 0.87
    # What predict says of its intervals is what is measured here.
    assert calibration().held == pytest.approx(score.inside, abs=0.015)
    assert score.refused <= 0.06 * (score.rows + score.refused)
    assert (score.rows, score.left_out) == (237, 13)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bars_do_not_hang_on_one_shuffle_of_the_groups(seed):
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        score = Score.of(validate(*read(file), seed=seed))
    assert score.median <= 0.09
    assert score.tail <= 0.30


@pytest.mark.parametrize("label", ["CS-3 (WSE-3)", "WSE-2", "Groq LPU v1", "SN40L", "TPU-v5e", "Apple-M2-Ultra-76c"])
def test_no_kind_of_machine_is_left_aside(cross_validated, label):
    mine = [one for one in cross_validated if one.hardware == label]
    assert all(one.is_predicted or one.is_left_out for one in mine)
    assert np.median([abs(one.error) for one in mine if one.is_predicted]) < 0.7


def test_nothing_beats_its_floor(cross_validated):
    floors = {row.line: run.floor_us + run.prefill_floor_us for row, run in zip(evidence().rows, evidence().runs, strict=True)}
    predicted = [one for one in cross_validated if one.is_predicted]
    assert len(predicted) == len(floors)
    for one in predicted:
        assert 0 < one.low < one.predicted < one.high * (1 + 1e-9)
        assert one.high <= 1e6 / floors[one.line] * (1 + 1e-9)


def test_whatever_is_not_predicted_says_why(cross_validated):
    assert all(one.reason for one in cross_validated if not one.is_predicted)
    assert {one.basis for one in cross_validated if one.is_predicted} == {CROSS_VALIDATED}
    assert len({one.line for one in cross_validated}) == 252


def test_the_generated_parameters_are_those_of_the_evidence():
    known, stored = evidence(), calibration()
    whole = design(known.columns)
    found = fit(whole.all(), known.time_us, huber(known.columns))
    # Where the descent stops depends on rounding, along directions that the evidence hardly knows.
    assert np.abs((found.mean - stored.fit.mean) / np.sqrt(np.diag(stored.fit.covariance))).max() < 0.2
    assert np.abs(predict(whole, found).time_us / predict(whole, stored.fit).time_us - 1).max() < 0.01
    assert set(stored.doubt.widening) == set(CARRIED)
    written = as_yaml(Calibration(found, stored.doubt, stored.seen, stored.held))
    assert written.count("\n- {term:") == len(found.effects) == len(parameters()["parameters"])


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join([COLUMNS, *lines]) + "\n", encoding="utf-8")
    return path


def rows_of(path: Path) -> list[dict[str, str]]:
    with open(path, encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_a_file_of_ones_own_is_predicted_line_by_line(tmp_path, capsys):
    file = write(
        tmp_path / "mine.csv",
        "a,H200,1,TP1,Llama-3-8B,16,in1024/out1024,vLLM,180,",
        "b,H100-SXM,1,TP1,Llama-3-8B,16,in512/out512,an engine of mine,140,",
        "c,L40S,1,TP1,Qwen3-8B,8,,another one,80,",
        "d,A100-SXM-80GB,1,TP1,Llama-3-8B,many,,vLLM,80,",
        "e,A100-SXM-80GB,1,TP1,Llama-3-8B,16,,vLLM,,",
        "f,A100-SXM-80GB,1,TP1,Llama-3-8B,16,,vLLM,300,speculative",
        "g,WSE-2,1,,Qwen2-72B,16,,WaferLLM,800,",
        ",A100-SXM-80GB,1,TP1,Llama-3-8B,16,,vLLM,none,",
    )
    out = tmp_path / "rows.csv"
    assert cli.run(["validate", f"published={file}", f"rows={out}"]) == cli.OK
    shown = capsys.readouterr().out
    rows = {row["id"]: row for row in rows_of(out)}
    assert list(rows) == [*"abcdefg", "line 9"]
    assert "\n  line 9: tok_s must be a number; got 'none'\n" in shown
    assert [rows[name]["basis"] for name in "abc"] == ["new machine", "new engine", "new machine and engine"]
    for name in "abcg":
        low, point, high = (float(rows[name][field]) for field in ("low", "predicted", "high"))
        assert low < point < high
        assert float(rows[name]["error"]) == pytest.approx(point / float(rows[name]["tok_s"]) - 1, abs=1e-3)
    assert [rows[name]["predicted"] for name in "def"] == ["", "", ""]
    assert rows["d"]["reason"] == "weight_bits must be a number; got 'many'"
    assert rows["e"]["reason"] == "line 6: tok_s must be given"
    assert rows["f"]["reason"] == "left out: speculative decoding"
    assert "does not fit: 145 GB in 40 GB" in rows["g"]["reason"]
    assert "  f: left out: speculative decoding\n" in shown
    (total,) = [line.split() for line in shown.splitlines() if line.strip().startswith("all ")]
    assert (total[1], total[-2:]) == ("4", ["3", "1"])


def test_a_row_of_the_evidence_is_never_predicted_by_a_fit_that_has_seen_it(tmp_path):
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        lines = file.read().splitlines()
    path = tmp_path / "some.csv"
    ours = next(line for line in lines if ",vLLM," in line)
    path.write_text("\n".join([lines[0], ours, ours.replace(",vLLM,", ",vLLM 99,")]) + "\n", encoding="utf-8")
    first, second = validate(*read(path))
    assert (first.basis, second.basis) == (CROSS_VALIDATED, "fitted")


def test_each_kind_of_machine_is_predicted_without_itself(tmp_path, capsys, monkeypatch):
    level = "kind of machine"
    # Machines and engines differ in nothing but their number, and each is a fit.
    monkeypatch.setattr("roofcast.harness.verbs.validate.LEVELS", [level])
    assert cli.run(["validate", "leave_one_out=true", f"rows={tmp_path / 'rows.csv'}"]) == cli.OK
    shown, rows, known = capsys.readouterr().out, rows_of(tmp_path / "rows.csv"), evidence()
    assert f"Each {level} predicted by a fit to the others" in shown
    assert all(f"\n {LEVELS[level](run)} " in shown for run in known.runs)
    assert {row["basis"] for row in rows} == {f"without its {level}"}
    found = {row["line"]: float(row["predicted"]) for row in rows}
    assert len(found) == len(known.rows)
    is_wafer = np.array([run.device.kind == "wafer" for run in known.runs])
    alone = held_out(known.columns, known.time_us, is_wafer.astype(int))
    for place in np.flatnonzero(is_wafer):
        assert found[str(known.rows[place].line)] == pytest.approx(1e6 / alone.time_us[place], rel=1e-3)


def test_machines_kinds_and_engines_can_be_left_out():
    assert list(LEVELS) == ["machine", "kind of machine", "engine"]
    run = next(run for run in evidence().runs if run.device.name == "TPU_v5e")
    assert [of(run) for of in LEVELS.values()] == ["TPU_v5e", "tpu", "xla"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["leave_one_out=true", "published=heading.csv"], "leave_one_out must be false where a file is validated"),
        (["published=nowhere.csv"], "published must name a readable CSV file; got 'nowhere.csv'"),
        (["published=empty.csv"], "published must have the columns hardware, model, tok_s; it lacks"),
        (["published=heading.csv"], "published must hold at least one row; got 'heading.csv'"),
        (["publishd=x"], "publishd is not a key of roofcast validate; did you mean published?"),
        (["seed=many"], "seed must be of type Integer; got 'many'"),
        (["seed=-1"], "seed must be a whole number from 0; got -1"),
        (["rows=empty.csv/x.csv"], "rows must be a file that can be written; got 'empty.csv/x.csv'"),
        (["rows=x.md"], "rows must be a file ending in .csv; got 'x.md'"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, capsys, arguments, sentence):
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    write(tmp_path / "heading.csv")
    assert cli.run(["validate", *arguments]) == cli.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_validating_imports_no_jax():
    script = (
        "import sys; from roofcast.harness import cli; assert cli.run(['validate']) == 0; "
        "sys.exit('jax' in sys.modules and 'JAX was imported')"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert " all " in done.stdout
