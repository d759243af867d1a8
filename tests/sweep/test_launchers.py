"""The same sweep through every engine that is installed: the same table, and nothing measured twice."""

import csv
import importlib.util
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from roofcast.harness.config.registration import folder_for

ENGINES = {
    "basic": ("basic", []),
    "joblib": ("processes", ["hydra.launcher.n_jobs=2"]),
    "submitit": ("submitit", []),
    "ray": ("ray_cluster", ["+hydra.launcher.ray.init.num_cpus=2", "+hydra.launcher.ray.init.include_dashboard=false"]),
}
FAST = ("kernel=rope", "context=-1,1,2", "timing=quick", "timing.min_samples=2", "timing.precision=10")
MODEL = (
    "{name: tiny, family: decoder, layers: 2, d_model: 64, heads: 4, kv_heads: 2, head_dim: 16, d_ff: 128, vocab: 512,"
    " max_context: 256, source: test, confidence: found}"
)
# Probing the machine takes seconds in every worker, and is no concern of a launcher. No kernel is faster than these.
KNOWN_CEILINGS = """
import sys
if "roofcast.harness.sweep.worker" in sys.orig_argv:
    from roofcast.harness.store.figures import Ceilings
    from roofcast.harness.measure import cache_levels, caches, ceilings, probes
    speeds = Ceilings(read_gbs=1e5, copy_gbs=1e5, triad_gbs=1e5, multiply_add_gflops=1e6, dispatch_us=8.0)
    probe = probes.Probe("none", lambda: 1e6)
    levels, rotated = cache_levels.Levels((), 1e5, 0.0), caches.Caches.rotated(2**20)
    ceilings.measure_limits = lambda *_, **__: ceilings.Limits(speeds, levels, rotated, probe, probe)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("launchers")
    (folder / "tiny.yaml").write_text(MODEL)
    (folder / "site").mkdir()
    (folder / "site" / "sitecustomize.py").write_text(KNOWN_CEILINGS)
    return folder


def started(folder: Path, engine: str, *more: str) -> subprocess.Popen[str]:
    """A sweep of three configurations, one of which cannot be."""
    launcher, settings = ENGINES[engine]
    paths = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
    # Where they are not set, engines set them for their jobs.
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_NUM_THREADS")}
    environment |= {"PYTHONPATH": os.pathsep.join(paths), "XDG_CACHE_HOME": str(folder / "cache"), "RAY_AUTH_MODE": "disabled"}
    command = [sys.executable, "-m", "roofcast.harness", "bench", "-m", "model=tiny.yaml", *FAST]
    command += [f"hydra/launcher={launcher}", *settings, *more]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=environment, **pipes)


def sweep(folder: Path, engine: str) -> tuple[int, str, list[dict[str, str]]]:
    """Its exit code, what it said, and its table."""
    with started(folder, engine, f"results={engine}", f"output={engine}.csv") as process:
        told, complaints = process.communicate(timeout=200)
    assert (folder / f"{engine}.csv").exists(), complaints
    with open(folder / f"{engine}.csv", newline="") as file:
        return process.returncode, told, list(csv.DictReader(file))


def untimed(rows: list[dict[str, str]]) -> list[list[str]]:
    """What a row says that is not a time; the commands end in where the results went."""
    kept = ("job", "status", "reason", "model", "context", "weight_format", "op", "label", "implementation", "host_key")
    return [[row[name] for name in kept] + [row["reproduce"].partition(" results=")[0]] for row in rows]


@pytest.fixture(scope="module")
def reference(folder: Path) -> list[list[str]]:
    code, _, rows = sweep(folder, "basic")
    assert code == 2
    assert [row["status"] for row in rows] == ["refused", "ok", "ok"]
    return untimed(rows)


@pytest.mark.parametrize("engine", ["joblib", "submitit", "ray"])
def test_every_engine_ends_a_sweep_in_the_same_table_and_resumes_it(
    engine: str, folder: Path, reference: list[list[str]]
) -> None:
    if importlib.util.find_spec(engine) is None:
        pytest.skip(f"the extra {engine} is not installed")
    code, _, rows = sweep(folder, engine)
    assert code == 2
    assert untimed(rows) == reference
    code, told, same = sweep(folder, engine)
    assert code == 2
    assert "3 configurations: 1 refused, 2 skipped" in told
    assert [row["record_id"] for row in same] == [row["record_id"] for row in rows]


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT], ids=lambda one: one.name)
def test_a_sweep_that_is_stopped_leaves_no_process_of_its_own(how: signal.Signals, folder: Path) -> None:
    pytest.importorskip("joblib", reason="the extra joblib is not installed")
    with started(folder, "joblib", f"results={how.name}", "timing.precision=1e-9", "timing.budget_s=600") as process:
        # Posted once a job has its worker's terms, and then starts it.
        while not list((folder / how.name).glob("sweeps/*/job-*.standing")):
            assert process.poll() is None
            time.sleep(0.1)
        children = psutil.Process(process.pid).children(recursive=True)
        assert children
        process.send_signal(how)
        process.communicate(timeout=60)
    _, left = psutil.wait_procs(children, timeout=20)
    assert left == []


def test_a_sweep_whose_results_go_to_a_bucket_has_a_folder_here() -> None:
    assert [folder_for(results) for results in ("mine", "s3://bucket/results")] == ["mine", "results"]
