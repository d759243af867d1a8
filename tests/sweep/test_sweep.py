"""Sweeps from the command line: killed and resumed, refused, timed out, and told in one table."""

import csv
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from roofcast.harness.store.store import Store

MODEL = (Path(__file__).parent.parent / "tiny.yaml").read_text(encoding="utf-8")
QUICK = ("model=tiny.yaml", "kernel=rope", "timing=quick", "timing.budget_s=1", "timing.min_samples=2", "timing.precision=0.5")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "roofcast.harness", "bench", "-m", *QUICK, *arguments]


def sweep(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.run(command(*arguments), cwd=folder, env=environment, capture_output=True, text=True, timeout=300)


def runs(folder: Path) -> dict[str, set[str]]:
    """Configuration -> its runs in the store."""
    found: dict[str, set[str]] = {}
    for record in Store(folder / "results").read().found:
        found.setdefault(record.run.config_hash, set()).add(record.run.run_id)
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    (folder / "tiny.yaml").write_text(MODEL)
    return folder


def test_a_killed_sweep_loses_nothing_and_repeats_one_job_at_most(folder: Path) -> None:
    ledger = folder / "results" / "jobs"
    with subprocess.Popen(
        command("context=1,2,3"), cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        while not list(ledger.glob("*.json")):
            assert process.poll() is None
            time.sleep(0.05)
        process.kill()
    kept = {file.name: file.read_bytes() for file in [*ledger.glob("*.json"), *(folder / "results").glob("*.parquet")]}
    done = sweep(folder, "context=1,2,3")
    assert done.returncode == 0, done.stderr
    assert all(
        (folder / "results" / name).exists() or (ledger / name).read_bytes() == content for name, content in kept.items()
    )
    counts = [len(one) for one in runs(folder).values()]
    assert len(counts) == 3
    assert sum(counts) <= 3 + 1
    # All is there: in any order of the words nothing is measured again.
    again = sweep(folder, "context=3,2,1", "timeout=60")
    assert "3 configurations: 3 skipped" in again.stdout
    assert [len(one) for one in runs(folder).values()] == counts


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
    assert "2 of 2 (1 failed, 1 skipped)" in done.stderr


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
