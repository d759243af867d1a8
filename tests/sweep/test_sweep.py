"""Sweeps from the command line: refused, timed out, and told in one table. Killed ones stand in `test_kills.py`."""

import csv
import json
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
    assert float(rows[1]["latency_us"]) > 0
    (table,) = (
        path
        for path in (folder / "results" / "sweeps").glob("*/table.parquet")
        if path.with_suffix(".csv").read_text() == (folder / "all.csv").read_text()
    )
    assert duckdb.sql(f"SELECT status, context FROM '{table}'").fetchall() == [("refused", None), ("ok", 1)]
    assert "What failed" in done.stdout
    assert "2 of 2 (1 done, 1 failed)" in done.stderr


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


def test_each_measurement_says_whether_its_program_was_on_the_disk(folder: Path) -> None:
    for wanted in ("cold", "warm"):
        done = sweep(folder, "context=1", "force=true", f"seed={int(wanted == 'warm')}", "results=other")
        assert done.returncode == 0, done.stderr
    told = [record.compilation for record in Store(folder / "other").read().found]
    assert {one.compile_cache for one in told if one} <= {"cold", "warm"}
    assert told[-1] is not None
    assert told[-1].compile_cache == "warm"
