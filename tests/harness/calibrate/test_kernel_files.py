"""Files of kernels to be predicted: rows that are bad are refused with the reason, and the others are done."""

import csv
import subprocess
import sys
from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.calibrate.kernels.calibration import (
    FITTED,
    HELD_OUT,
    SPECIFICATION,
    evidence,
)
from roofcast.harness.calibrate.kernels.rows import COUNTS, TEXTS, read
from roofcast.harness.validation.kernels import validate

HEADER = "chip,op,framework,version,dtype,kv_dtype,n,k,heads,kv_heads,head_dim,context,n_gpus,bytes,latency_us"


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def write(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


GOOD = "H200,gemv,vllm,1,bfloat16,,4096,4096,,,,,1,,11.5"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (",gemv,vllm,1,bfloat16,,4096,4096,,,,,1,,11.5", "chip must be given"),
        (
            "H200,gemm,vllm,1,bfloat16,,4096,4096,,,,,1,,11.5",
            "op must be one of gemv, decode_attention, all_reduce; got",
        ),
        ("H200,gemv,,1,bfloat16,,4096,4096,,,,,1,,11.5", "framework must be given"),
        ("H200,gemv,vllm,1,float5,,4096,4096,,,,,1,,11.5", "dtype must be one of"),
        ("H200,gemv,vllm,1,bfloat16,,4096,,,,,,1,,11.5", "k must be a finite number above 0; got ''"),
        ("H200,gemv,vllm,1,bfloat16,,4096,1.5,,,,,1,,11.5", "k must be a whole number"),
        ("H200,gemv,vllm,1,bfloat16,,4096,4096,,,,,1,,-1", "latency_us must be a finite number above 0; got '-1'"),
        ("H200,gemv,vllm,1,bfloat16,,4096,4096,,,,,1,,nan", "latency_us must be a finite number above 0; got 'nan'"),
        ("H200,decode_attention,vllm,1,bfloat16,,,,32,5,128,512,1,,11", "heads must be a multiple of kv_heads; got 32 and 5"),
        ("H200,all_reduce,vllm,1,bfloat16,,4096,,,,,,1,,11", "n_gpus must be at least 2; got 1"),
        (GOOD + ",more", "there are more fields than columns"),
        ("H2000x,gemv,vllm,1,bfloat16,,4096,4096,,,,,1,,11.5", "device must be a file in conf/device"),
        ("WSE-2,gemv,vllm,1,bfloat16,,4096,4096,,,,,1,,11.5", "chip must be a GPU, which kernels are launched on; WSE-2_CS-2"),
    ],
)
def test_a_bad_row_is_refused_and_the_others_are_done(tmp_path, capsys, line, reason):
    file, out = write(tmp_path / "some.csv", GOOD, line, GOOD), tmp_path / "rows.csv"
    assert cli.run(["validate", f"kernels={file}", f"rows={out}"]) == cli.OK
    assert reason in capsys.readouterr().out
    with open(out, encoding="utf-8", newline="") as opened:
        found = list(csv.DictReader(opened))
    assert [one["line"] for one in found] == ["2", "3", "4"]
    assert found[1]["reason"].startswith("line 3: ")
    assert reason in found[1]["reason"]
    assert found[1]["predicted"] == ""
    for one in (found[0], found[2]):
        assert one["basis"] == SPECIFICATION
        assert float(one["low"]) < float(one["predicted"]) < float(one["high"])
        assert float(one["error"]) == pytest.approx(float(one["predicted"]) / 11.5 - 1, abs=1e-3)


def test_a_cache_whose_type_is_not_given_is_of_the_activations_type(tmp_path):
    file = write(tmp_path / "some.csv", "H200,decode_attention,vllm,1,bfloat16,,,,32,8,128,512,1,,11")
    assert read(file)[0].format.tolist() == ["bfloat16"]


def test_a_row_of_the_evidence_is_known_again_in_another_file(tmp_path):
    first = evidence().rows[:1]
    values = {name: getattr(first, name)[0] for name in (*TEXTS, *COUNTS, "latency_us")}
    cells = [str(values.get(name, "")) if values.get(name) != 0 else "" for name in HEADER.split(",")]
    changed = [*cells[:-1], str(float(cells[-1]) * 1.01)]
    other, _ = read(write(tmp_path / "some.csv", ",".join(cells), ",".join(changed)))
    assert validate(other).basis.tolist() == [HELD_OUT, FITTED]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["kernels=nowhere.csv"], "kernels must name a readable CSV file; got 'nowhere.csv'"),
        (["kernels=empty.csv"], "kernels must have the columns chip, op, framework, latency_us; it lacks"),
        (["kernels=heading.csv"], "kernels must hold at least one row; got 'heading.csv'"),
        (["kernels=heading.csv", "published=heading.csv"], "published and kernels must not both be given"),
        (["kernels=heading.csv", "rows=heading.csv/x.csv"], "rows must be a file that can be written"),
    ],
)
def test_bad_input_gets_one_sentence(tmp_path, capsys, arguments, sentence):
    (tmp_path / "empty.csv").write_text("", encoding="utf-8")
    write(tmp_path / "heading.csv")
    assert cli.run(["validate", *arguments]) == cli.USAGE
    (line,) = capsys.readouterr().err.splitlines()
    assert sentence in line


def test_validating_kernels_imports_no_jax(tmp_path):
    script = (
        "import sys; from roofcast.harness import cli; assert cli.run(['validate', 'kernels=some.csv']) == 0; "
        "sys.exit('jax' in sys.modules and 'JAX was imported')"
    )
    write(tmp_path / "some.csv", GOOD)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert SPECIFICATION in done.stdout
