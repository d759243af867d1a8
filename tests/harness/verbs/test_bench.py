"""The main job from end to end on a model small enough for a test: measure, keep, show, recall, break, recover."""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import psutil
import pytest
from roofcast.harness.store.store import Store

MODEL = (Path(__file__).parents[2] / "tiny.yaml").read_text(encoding="utf-8")
QUICK = ("timing=quick", "timing.budget_s=1", "timing.min_samples=3", "timing.precision=0.5", "context=64")


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "roofcast.harness", *arguments]


def roofcast(folder: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), cwd=folder, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bench")
    (folder / "tiny.yaml").write_text(MODEL)
    return folder


@pytest.fixture(scope="module")
def bench(folder: Path) -> subprocess.CompletedProcess[str]:
    """One run of the whole decode step, written to Markdown as well."""
    return roofcast(folder, "bench", "model=tiny.yaml", *QUICK, "output=tables.md")


def sections(text: str) -> Sequence[str]:
    return [line for line in text.splitlines() if line.startswith(("Ceilings", "Kernels of", "Decode of"))]


def test_a_run_prints_ceilings_kernels_and_throughput(bench: subprocess.CompletedProcess[str]) -> None:
    assert bench.returncode == 0, bench.stderr
    assert bench.stderr == ""
    assert [line.split()[0] for line in sections(bench.stdout)] == ["Ceilings", "Kernels", "Decode"]
    for words in ("About", "memory read", "matmul bf16", "dispatch", "qkv", "lm_head", "sampling", "H100_SXM", "WSE-3_CS-3"):
        assert words in bench.stdout


def test_every_call_of_the_step_is_kept_with_its_evidence(bench: subprocess.CompletedProcess[str], folder: Path) -> None:
    assert bench.returncode == 0
    records = Store(folder / "results").read().found
    assert {one.subject.op for one in records} == {
        "activation", "attention", "cache", "embedding", "gemv", "norm", "rope", "sampling", "step",
    }  # fmt: skip
    for one in records:
        assert one.outcome.status == "ok", one.outcome.reason
        assert one.timing is not None
        assert one.statistics is not None
        assert one.timing.samples_us
        assert len(one.timing.core_probe_turns_per_us) == len(one.timing.samples_us)
        assert one.ceilings is not None
        assert one.ceilings.core_turns_per_us
        assert one.timing.stop_reason
        assert one.timing.timer == "perf_counter"
        assert one.outcome.error is not None
        assert one.outcome.tolerance is not None
        assert one.outcome.error <= one.outcome.tolerance
        assert one.run.overrides.startswith(f"model={folder / 'tiny.yaml'} ")
        assert one.host.jax_version
        assert one.host.backend == "cpu"
    assert sum(one.subject.count_per_token for one in records if one.subject.op == "gemv") == 2 * 4 + 1


def test_the_tables_are_written_too(bench: subprocess.CompletedProcess[str], folder: Path) -> None:
    text = (folder / "tables.md").read_text()
    assert text.count("### ") == 5
    assert "| lm_head" in text


def test_the_table_verb_recalls_the_run_and_carries_it_elsewhere(bench: subprocess.CompletedProcess[str], folder: Path) -> None:
    done = roofcast(folder, "table", "model=tiny.yaml", "context=64", "device=b200", "devices=8")
    assert done.returncode == 0, done.stderr
    assert "8x B200" in done.stdout
    assert sections(done.stdout)[:2] == sections(bench.stdout)[:2]


def test_a_corrupted_file_is_named_and_the_rest_is_still_shown(
    bench: subprocess.CompletedProcess[str], folder: Path, tmp_path: Path
) -> None:
    results = tmp_path / "results"
    results.mkdir()
    (file,) = (folder / "results").glob("*.parquet")
    content = file.read_bytes()
    (results / file.name).write_bytes(content)
    broken = results / f"20200101T000000000000Z-{file.name.split('-', 1)[1]}"
    broken.write_bytes(content[: len(content) // 2])
    before = sorted((one.name, one.stat().st_size) for one in results.iterdir())
    done = roofcast(folder, "table", "model=tiny.yaml", "context=64", f"results={results}")
    assert done.returncode == 1
    (complaint,) = done.stderr.splitlines()
    assert broken.name in complaint
    assert "lm_head" in done.stdout
    assert sorted((one.name, one.stat().st_size) for one in results.iterdir()) == before


def test_a_sweep_measures_each_configuration_and_survives_one_that_cannot_be(
    folder: Path, tmp_path: Path, small_machine: str
) -> None:
    overrides = ("-m", "model=tiny.yaml", "kernel=norm,rope", "context=-1,8", *QUICK[:-1], f"results={tmp_path / 'r'}")
    done = roofcast(folder, "bench", *overrides, PYTHONPATH=small_machine)
    assert done.returncode == 2
    complaints = [line for line in done.stderr.splitlines() if line.startswith("roofcast")]
    assert complaints == ["roofcast: context must be a whole number from 1; got -1"] * 2
    records = Store(tmp_path / "r").read().found
    assert {(one.subject.op, one.subject.context) for one in records} == {("norm", 8), ("rope", 8)}


def test_a_killed_run_harms_nothing_that_was_there(
    bench: subprocess.CompletedProcess[str], folder: Path, small_machine: str
) -> None:
    kept = {one.name: one.read_bytes() for one in (folder / "results").glob("*.parquet")}
    with subprocess.Popen(
        command("bench", "model=tiny.yaml", *QUICK, "timing.budget_s=60", "timing.precision=1e-9"),
        cwd=folder,
        env=os.environ | {"PYTHONPATH": small_machine},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        # Half of it goes into imports; it would go on for a minute.
        while psutil.Process(process.pid).cpu_times().user < 6:
            time.sleep(0.1)
        process.kill()
    assert {one.name: one.read_bytes() for one in (folder / "results").glob("*.parquet")} == kept
    assert roofcast(folder, "table", "model=tiny.yaml", "context=64").returncode == 0
