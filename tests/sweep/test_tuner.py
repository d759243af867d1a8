"""A search finds the best size, counts what came to nothing, and resumes. Nothing is measured: each size has its speed."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from omegaconf import OmegaConf
from roofcast.harness import cli
from roofcast.harness.measure.cache_levels import MEMORY, Levels
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.ceilings import Limits
from roofcast.harness.measure.compiled import Compiled
from roofcast.harness.measure.prepare import Kernel
from roofcast.harness.measure.probes import Probe
from roofcast.harness.measure.result import Result, Timed
from roofcast.harness.measure.rounds import Series
from roofcast.harness.measure.statistics import Interval
from roofcast.harness.store.figures import Ceilings
from roofcast.harness.store.store import Store
from roofcast.harness.sweep import bench, job, worker
from roofcast.kernels.blocks import block_size

optuna = pytest.importorskip("optuna", reason="the extra optuna is not installed")

SPEEDS = Ceilings(read_gbs=20.0, copy_gbs=15.0, triad_gbs=16.0, multiply_add_gflops=100.0, dispatch_us=8.0)
BEST = 4096


def timed(calls, machine, stopping, **_) -> Iterator[Result]:
    """A session in which a size reaches the less of its ceiling the further it is from the best, and 1 byte nothing."""
    size = block_size("gemv_grain_bytes", 0)
    reached = 1 / (1 + abs(np.log2(size / BEST)))
    for workload, one in calls:
        if size == 1:
            yield Result(workload, one.name, "failed", "ValueError: too small")
            continue
        span = Interval(reached, reached, reached)
        yield Result(
            workload,
            one.name,
            "ok",
            compiled=Compiled(None, 0.1, 0.1),
            kernel=Kernel(workload, one, None, "direct calls", "cold", 1.0, 1, lambda: 1e-3),
            series=Series([1e-3, 1e-3], [[20.0, 100.0]] * 2, [[20.0, 100.0]] * 2, "sample limit reached"),
            timed=Timed(Interval(1e3, 1e3, 1e3), span, 1.0, "memory", np.ones(2, bool), 0.0, level=MEMORY),
        )


class InProcess:
    """The worker's answers without its process."""

    def __init__(self, environment) -> None:
        pass

    def measure(self, config, overrides, limit_s, doing, sweep):
        said = []
        worker.measure(OmegaConf.create(config), overrides, lambda **answer: said.append(answer), sweep)
        return said[-1]

    def close(self) -> None:
        pass


@pytest.fixture(autouse=True)
def no_clock(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    silent = Probe("none", lambda: 1.0)
    monkeypatch.setattr(
        bench, "measure_limits", lambda *_, **__: Limits(SPEEDS, Levels((), 20.0, 0.0), Caches.rotated(0), silent, silent)
    )
    monkeypatch.setattr(bench.session, "run", timed)
    monkeypatch.setattr(bench, "keep_programs_in", lambda folder: None)
    monkeypatch.setattr(job, "_WARM", [])
    monkeypatch.setattr(job, "Process", InProcess)
    monkeypatch.setattr("sys.argv", ["roofcast"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    monkeypatch.chdir(tmp_path)


def search(*overrides: str) -> int:
    return cli.run(["bench", "-m", "hydra/sweeper=tune", "model=gpt2", "kernel=gemv", "timing=quick", *overrides])


def test_a_search_ends_near_the_best_and_resumes(capsys: pytest.CaptureFixture[str]) -> None:
    asked = ("blocks.gemv_grain_bytes=tag(log,interval(256,65536))", "hydra.sweeper.trials=8")
    assert search(*asked) == 0
    said = capsys.readouterr().out
    _, _, found = said.partition("  best: blocks.gemv_grain_bytes=")
    assert BEST / 4 < int(found) < BEST * 4
    records = Store(Path("results")).read().found
    assert {one.subject.implementation.partition("[")[2].partition("=")[0] for one in records} == {"gemv_grain_bytes"}
    # Nothing is measured twice, and the search goes the same way.
    assert search(*asked) == 0
    assert capsys.readouterr().out.partition("  best: ")[2] == said.partition("  best: ")[2]
    assert len(Store(Path("results")).read().found) == len(records)


def test_a_trial_that_comes_to_no_time_is_told_and_not_chosen(capsys: pytest.CaptureFixture[str]) -> None:
    assert search("blocks.gemv_grain_bytes=choice(1,1024)", "hydra.sweeper.trials=5", "hydra.sweeper.at_once=2") == 1
    said = capsys.readouterr().out
    assert "came to no share of a ceiling with blocks.gemv_grain_bytes=1\n" in said
    assert said.endswith("  best: blocks.gemv_grain_bytes=1024\n")


@pytest.mark.parametrize(
    ("overrides", "complaint"),
    [
        ((), "a search must have a key to search, such as blocks.gemv_grain_bytes='interval(4096,1048576)'"),
        (("seed=1,2", "hydra.sweeper.trials=0"), "hydra.sweeper.trials must be a whole number from 1; got 0"),
    ],
)
def test_a_search_that_cannot_be_is_refused(overrides, complaint, capsys: pytest.CaptureFixture[str]) -> None:
    assert search(*overrides) == cli.USAGE
    assert complaint in capsys.readouterr().err


def test_an_optuna_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delattr(optuna.distributions, "IntDistribution")
    monkeypatch.setattr(optuna, "__version__", "2.10.1")
    assert search("seed=1,2") == cli.USAGE
    assert "hydra/sweeper=tune needs a later Optuna: pip install 'roofcast[optuna]'; got 2.10.1" in capsys.readouterr().err
