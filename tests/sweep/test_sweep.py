"""Sweeps from the command line: refused, timed out, and told in one table. Killed ones stand in `test_kills.py`."""

import csv
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import duckdb
import pytest
from roofcast.harness.store.store import Store

MODEL = (Path(__file__).parent.parent / "tiny.yaml").read_text(encoding="utf-8")
QUICK = ("model=tiny.yaml", "kernel=rope", "timing=quick", "timing.budget_s=1", "timing.min_samples=2", "timing.precision=0.5")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "roofcast.harness", "bench", "-m", *QUICK, *arguments]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*arguments), cwd=folder, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, small_machine: str) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tiny.yaml").write_text(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", small_machine)
        # Programs of its own, so that the first measurement finds none.
        patch.setenv("XDG_CACHE_HOME", str(folder / "cache"))
        yield folder


def test_the_table_has_a_row_per_measurement_and_one_per_failure(folder: Path) -> None:
    done = sweep(folder, "context=-1,1", "output=all.csv", "timeout=60")
    assert done.returncode == 2
    with open(folder / "all.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["refused", "ok"]
    assert rows[0]["reason"] == "context must be a whole number from 1; got -1"
    assert rows[1]["reproduce"].startswith(f"roofcast bench model={folder / 'tiny.yaml'} kernel=rope ")
    # Repeating it must not write this very table anew.
    assert "output=" not in rows[1]["reproduce"]
    assert float(rows[1]["latency_us"]) > 0
    (table,) = (
        path
        for path in (folder / "results" / "sweeps").glob("*/table.parquet")
        if path.with_suffix(".csv").read_text() == (folder / "all.csv").read_text()
    )
    assert duckdb.sql(f"SELECT status, context FROM '{table}'").fetchall() == [("refused", None), ("ok", 1)]
    assert "What failed" in done.stdout
    assert "2 configurations, 0 of them finished before" in done.stderr
    assert "1 of 2 (1 refused); refused: context=-1" in done.stderr
    assert "2 of 2 (1 done, 1 refused); done: context=1" in done.stderr


def test_a_job_that_takes_too_long_or_dies_is_told_and_tried_again(folder: Path) -> None:
    late = sweep(folder, "context=4", "isolation=process", "timeout=0.2")
    assert late.returncode == 1
    assert "it took longer than timeout=0.2 s and was stopped" in late.stdout
    dead = sweep(folder, "context=4", "isolation=process", "xla_flags=--xla_is_not_a_flag=1")
    assert dead.returncode == 1
    assert "Unknown flag" in dead.stderr
    assert "Traceback" not in late.stderr + dead.stderr
    states = [json.loads(file.read_text())["status"] for file in (folder / "results" / "jobs").glob("*.json")]
    assert sorted(set(states)) == ["done", "failed", "refused", "timed out"]


def test_what_is_finished_in_other_words_is_skipped(folder: Path) -> None:
    assert "1 done" in sweep(folder, "context=1", "results=words").stdout
    again = sweep(folder, "context=1", "results=words", "seed=0", "timeout=100")
    assert "1 configuration: 1 skipped" in again.stdout
    assert "ok, from before" in again.stdout
    assert "compiling" not in again.stdout


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("timeout=0", "timeout must be null or a number of seconds above 0; got 0.0"),
        ("isolation=bogus", "isolation must be one of none, process; got 'bogus'"),
        ("xla_flags=--xla_foo=1", "isolation must be process where xla_flags is given"),
        ("results=", "results must be a folder, or the URL of one in an object store; got ''"),
        ("results=tiny.yaml", "results must be a folder that can be written to; got 'tiny.yaml/jobs': Not a directory"),
    ],
)
def test_a_sweep_that_cannot_be_says_why_before_anything_is_measured(folder: Path, key: str, words: str) -> None:
    before = set(folder.rglob("*"))
    refused = sweep(folder, "context=1,2", key)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(f"roofcast: {words}")
    assert refused.stdout == ""
    assert set(folder.rglob("*")) <= before


def test_a_job_that_cannot_be_is_told_of_with_its_reason_and_costs_the_others_nothing(folder: Path) -> None:
    some = sweep(folder, "context=1", "isolation=none,bogus", "output=some.csv", "results=some")
    assert some.returncode == 2
    with open(folder / "some.csv", newline="") as file:
        rows = [(row["status"], row["reason"]) for row in csv.DictReader(file)]
    assert rows == [("ok", ""), ("refused", "isolation must be one of none, process; got 'bogus'")]


def test_sweeps_that_start_at_once_have_a_table_each(folder: Path) -> None:
    lines = [command(f"context={context}", "results=both") for context in (1, 2)]
    both = [subprocess.Popen(one, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for one in lines]
    assert [one.communicate(timeout=300)[1].count("Traceback") for one in both] == [0, 0]
    assert [one.returncode for one in both] == [0, 0]
    tables = (folder / "both" / "sweeps").glob("*/table.parquet")
    assert sorted(duckdb.sql(f"SELECT context FROM '{table}'").fetchall() for table in tables) == [[(1,)], [(2,)]]


def test_one_who_interrupts_is_shown_what_is_finished(folder: Path) -> None:
    line = command("context=1,2,3,4,5,6", "results=cut", "timing.precision=1e-9")
    with subprocess.Popen(line, cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as sweeping:
        assert sweeping.stderr is not None
        assert any("1 of 6 (1 done)" in said for said in sweeping.stderr)
        sweeping.send_signal(signal.SIGINT)
        told, said = sweeping.communicate(timeout=300)
    assert sweeping.returncode == 130
    # Others may have been finished by the time that the signal was there.
    assert " done; the table is in " in told
    assert " 6 done" not in told
    assert said.splitlines()[-1].startswith("roofcast: stopped; what was finished is in the store")
    assert not list((folder / "cut").rglob("*.standing"))


def test_each_measurement_says_whether_its_program_was_on_the_disk(folder: Path) -> None:
    for wanted in ("cold", "warm"):
        done = sweep(folder, "context=1", "force=true", f"seed={int(wanted == 'warm')}", "results=other")
        assert done.returncode == 0, done.stderr
    told = [record.compilation for record in Store(folder / "other").read().found]
    assert {one.compile_cache for one in told if one} <= {"cold", "warm"}
    assert told[-1] is not None
    assert told[-1].compile_cache == "warm"
