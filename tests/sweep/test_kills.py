"""A sweep that is killed again and again: what was recorded stays, and each restart repeats one job at most.

`ROOFCAST_KILLS=20 pytest tests/sweep/test_kills.py` kills it twenty times; one kill is what every run of the tests does.
"""

import json
import os
import random
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest
from roofcast.harness.store.store import Store

KILLS = int(os.environ.get("ROOFCAST_KILLS", "1"))
JOBS = 5 * KILLS
LONGEST_S = 0.8
"""A kill comes up to so long after one of the next jobs is recorded, or after the start: while a program starts, compiles,
proves, measures or writes."""
MODEL = (Path(__file__).parent.parent / "tiny.yaml").read_text(encoding="utf-8")
QUICK = ("kernel=rope", "timing=quick", "timing.budget_s=1", "timing.min_samples=2", "timing.precision=0.5")


@dataclass(frozen=True)
class Kept:
    """What is on the disk: the measurements, and of each configuration its runs; of each finished job its run."""

    records: frozenset[str]
    runs: dict[str, set[str]]
    jobs: dict[str, str]

    @classmethod
    def under(cls, results: Path) -> "Kept":
        found = Store(results).query("SELECT record_id, run_id, config_hash FROM records").found if results.exists() else []
        runs: dict[str, set[str]] = {}
        for row in found:
            runs.setdefault(row["config_hash"], set()).add(row["run_id"])
        jobs = {file.name: json.loads(file.read_text())["run_id"] for file in (results / "jobs").glob("*.json")}
        return cls(frozenset(row["record_id"] for row in found), runs, jobs)

    @property
    def repeated(self) -> int:
        return sum(len(one) - 1 for one in self.runs.values())


@pytest.fixture
def folder(tmp_path: Path, small_machine: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PYTHONPATH", small_machine)
    (tmp_path / "tiny.yaml").write_text(MODEL)
    return tmp_path


def started(folder: Path, contexts: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "roofcast.harness", "bench", "-m", "model=tiny.yaml", *QUICK, f"context={contexts}"]
    environment = os.environ | {"XDG_CACHE_HOME": str(folder / "cache")}
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def killed(folder: Path, contexts: str, jobs: int, later_s: float) -> bool:
    """Whether a sweep was killed so long after so many jobs more were recorded; not where it had ended by then."""
    ledger = folder / "results" / "jobs"
    wanted = len(list(ledger.glob("*.json"))) + jobs
    process = started(folder, contexts)
    while len(list(ledger.glob("*.json"))) < wanted and process.poll() is None:
        time.sleep(0.02)
    time.sleep(later_s)
    is_alive = process.poll() is None
    others = psutil.Process(process.pid).children(recursive=True) if is_alive else []
    process.kill()
    process.communicate()
    # A worker ends by itself when nobody is left to answer; until then what is on the disk may change.
    _, left = psutil.wait_procs(others, timeout=20)
    assert left == []
    return is_alive


def test_a_sweep_that_is_killed_loses_nothing_and_repeats_one_job_at_most(folder: Path) -> None:
    moments = random.Random(0)
    contexts = ",".join(map(str, range(1, JOBS + 1)))
    kept, kills = Kept.under(folder / "results"), 0
    while kills < KILLS:
        # The first comes when something is there to be lost.
        jobs = moments.randrange(0 if kills else 1, 3)
        assert killed(folder, contexts, jobs, moments.uniform(0, LONGEST_S))
        kills += 1
        now = Kept.under(folder / "results")
        assert now.records >= kept.records
        assert now.jobs.items() >= kept.jobs.items()
        assert now.repeated <= kept.repeated + 1
        kept = now
        print(f"kill {kills}: {len(now.records)} records, {len(now.jobs)} jobs finished, {now.repeated} repeated")
    with started(folder, contexts) as process:
        process.communicate()
    done = Kept.under(folder / "results")
    assert process.returncode == 0
    assert done.records >= kept.records
    assert len(done.runs) == len(done.jobs) == JOBS
    assert done.repeated <= kept.repeated + 1
    # All is there: in another order of the words nothing is measured again.
    with started(folder, ",".join(map(str, range(JOBS, 0, -1)))) as process:
        told, _ = process.communicate()
    assert f"{JOBS} configurations: {JOBS} skipped" in told
    assert Kept.under(folder / "results").runs == done.runs
