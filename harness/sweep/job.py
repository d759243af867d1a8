"""`roofcast bench`, alone or as one job of a sweep."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from ..config.overrides import of_job, reproducing
from ..errors import UsageError, chosen
from ..report.output import checked
from ..report.progress import Progress
from ..report.summary import summary
from ..report.table import SUFFIXES, show, write
from ..shown import warn
from ..steps.plan import plan
from ..store.record import utc_now
from ..store.store import Store
from .board import Board, Standing
from .identity import Here
from .ledger import Job, Ledger
from .process import Process, TimeLimitError, WorkerLostError
from .question import question
from .terms import Announced

REFUSED = 2
"""Exit code of a configuration that cannot be."""


def run(config: DictConfig) -> int:
    """Measures one configuration, here or in another process; in a sweep, unless that has been done."""
    check(config)
    if HydraConfig.get().mode is RunMode.MULTIRUN:
        return _in_a_sweep(config)
    if config.isolation == "none" and config.timeout is None:
        from . import bench

        return bench.run(config)
    return _alone(config)


def check(config: DictConfig) -> None:
    """Raises UsageError for a way to run a configuration that cannot be."""
    chosen("isolation", config.isolation, ("none", "process"))
    if not (config.environment is None or isinstance(config.environment, DictConfig)):
        raise UsageError(f"environment must be null or variables such as {{OMP_NUM_THREADS:1}}; got {config.environment!r}")
    for name in ("xla_flags", "environment"):
        if config[name] and config.isolation == "none":
            raise UsageError(f"isolation must be process where {name} is given, which a warm process cannot take; got none")
    if config.timeout is not None and not 0 < config.timeout < float("inf"):
        raise UsageError(f"timeout must be null or a number of seconds above 0; got {config.timeout}")


def _in_a_sweep(config: DictConfig) -> int:
    hydra, terms = HydraConfig.get(), Announced().terms
    assert terms is not None
    terms.take_over()
    ledger = Ledger.beside(config.results, Path(hydra.sweep.dir))
    # The job is found again by where it runs or, before it is started, by where the sweep does.
    key, spelling = Here.of(hydra).key(config), terms.here.spelling(of_job())
    board, number = Board(Path(hydra.sweep.dir)), hydra.job.num
    before = ledger.find(key)
    if before is not None and before.is_finished and not config.force and kept_runs(Store(config.results), [before.run_id]):
        # The same configuration in other words.
        ledger.write(before.spelt(spelling))
        board.post(number, Standing(ended="skipped"))
        return before.exit_code
    board.post(number, Standing(doing="starting"))
    job = _measured(config, key, spelling, lambda what, share: board.post(number, Standing(what, share)), hydra.sweep.dir)
    ledger.write(job)
    board.post(number, Standing(ended=job.status))
    if job.status != "done":
        warn(job.reason)
    return job.exit_code


def _alone(config: DictConfig) -> int:
    output = checked(config.output, SUFFIXES)
    here = Here.of(HydraConfig.get())
    with Progress() as progress:
        job = _measured(config, here.key(config), "", progress)
    if job.status == "refused":
        raise UsageError(job.reason)
    if job.status != "done":
        warn(job.reason)
        return job.exit_code
    tables = summary(Store(config.results).read("run_id = ?", [job.run_id]).found, plan(config))
    for table in tables:
        show(table)
    if output is not None:
        write(tables, output)
    return job.exit_code


def kept_runs(store: Store, runs: list[str]) -> set[str]:
    """Of some runs, those whose measurements the store still has."""
    if not runs or not store.is_there:
        return set()
    names = ", ".join("?" * len(runs))
    found = store.query(f"SELECT DISTINCT run_id FROM records WHERE run_id IN ({names})", runs).found
    return {row["run_id"] for row in found}


def _measured(
    config: DictConfig, key: str, spelling: str, doing: Callable[[str, float], None], sweep: str | None = None
) -> Job:
    overrides = reproducing(of_job())
    started_at, start = utc_now(), time.monotonic()

    def ended(status: Any, reason: str, exit_code: int, **more: Any) -> Job:
        return Job(
            key=key,
            spelling=spelling,
            status=status,
            reason=reason,
            exit_code=exit_code,
            overrides=overrides,
            started_at=started_at,
            seconds=time.monotonic() - start,
            **more,
        )

    try:
        # A worker takes seconds to start, and is not needed for a refusal.
        question(config)
    except UsageError as error:
        return ended("refused", str(error), REFUSED)
    asked: Any = OmegaConf.to_container(config, resolve=True)
    worker = _worker(_environment(config))
    try:
        said = worker.measure(asked, overrides, config.timeout, doing, sweep)
    except TimeLimitError as error:
        _dismiss()
        return ended("timed out", str(error), 1)
    except WorkerLostError as error:
        _dismiss()
        return ended("failed", str(error), 1)
    except KeyboardInterrupt:
        worker.interrupt()
        raise
    if config.isolation == "process":
        _dismiss()
    if "refused" in said:
        return ended("refused", said["refused"], REFUSED)
    if "failed" in said:
        return ended("failed", said["failed"], 1)
    if said["complaint"]:
        warn(said["complaint"])
    spent = {name: said[name] for name in ("compiling_s", "measuring_s", "proving_s")}
    return ended("done", "", said["exit_code"], run_id=said["run_id"], **spent)


def _environment(config: DictConfig) -> dict[str, str]:
    given = {str(name): str(value) for name, value in (config.environment or {}).items()}
    return given | ({"XLA_FLAGS": config.xla_flags} if config.xla_flags else {})


_WARM: list[tuple[Mapping[str, str], Process]] = []
"""The worker of this process, if it has one, and the variables that it was started with."""


def start_ahead() -> None:
    """Starts the worker that most sweeps need, which imports JAX while their first configuration is composed."""
    if not _WARM:
        _worker({})


def _worker(environment: Mapping[str, str]) -> Process:
    if not _WARM or _WARM[0][0] != environment:
        _dismiss()
        _WARM.append((environment, Process(environment)))
    return _WARM[0][1]


@atexit.register
def _dismiss() -> None:
    while _WARM:
        _WARM.pop()[1].close()
