"""What Hydra asks for a sweep's jobs: it leaves out what is finished, watches the rest, and ends in one table."""

from __future__ import annotations

from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, OmegaConf

from ..config.overrides import as_typed, reproducing
from ..errors import UsageError
from ..report.output import checked
from ..store.record import utc_now
from ..store.store import Store
from .ahead import Ahead
from .board import Board
from .identity import Here
from .job import REFUSED, check, kept_runs, start_ahead
from .ledger import Job, Ledger
from .outcome import Outcome
from .report import SUFFIXES, tell
from .terms import Announced, Terms
from .watch import Watch

Jobs = Sequence[Sequence[str]]


class ResumingSweeper(Sweeper):
    """Takes the sweeps that Hydra's own takes, and resumes them. Works with any launcher."""

    exit_codes: ClassVar[list[int]] = []
    """Where to put what a sweep came to: Hydra has no way to hand it on."""

    def __init__(self, max_batch_size: int | None, params: Mapping[str, str] | None) -> None:
        self._batch = max_batch_size
        self._always = [f"{key}={value}" for key, value in (params or {}).items()]

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        self.config, self.hydra_context = config, hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )
        # Others compose in the processes of their jobs, to which they carry the loader.
        self._ahead = Ahead(hydra_context.config_loader) if type(self.launcher).__name__ == "BasicLauncher" else None
        if self._ahead is not None:
            loader: Any = self._ahead
            self.launcher.setup(
                hydra_context=HydraContext(loader, hydra_context.callbacks), task_function=task_function, config=config
            )

    def _compose_each_value(self, jobs: Jobs, groups: Container[str]) -> None:
        """Finds what no configuration can have before the first job is measured, not after the last.

        Composing takes a tenth of a second, so only what is chosen from groups is composed; values are set in one composed.
        """
        assert self.config is not None
        assert self.hydra_context is not None
        loader = self.hydra_context.config_loader
        composed = [loader.load_sweep_config(self.config, list(job)) for job in _each_value_once(jobs, groups)]
        parser = OverridesParser.create(config_loader=loader)
        for one in parser.parse_overrides(sorted({one for job in jobs for one in job})):
            if one.key_or_group not in groups and not (one.is_add() or one.is_delete() or one.is_force_add()):
                OmegaConf.update(composed[0], one.key_or_group, one.value())

    def sweep(self, arguments: list[str]) -> Any:
        asked = self._asked(arguments)
        jobs = self._jobs(asked)
        rows = self._ended(jobs, asked)
        self._tell(rows)
        return [self._returns]

    def _asked(self, arguments: list[str]) -> Sequence[Override]:
        """What a sweep is over and has in common, told to its jobs."""
        assert self.config is not None
        assert self.hydra_context is not None
        parser = OverridesParser.create(config_loader=self.hydra_context.config_loader)
        asked = parser.parse_overrides([*self._always, *arguments])
        _check(asked)
        check(self.config)
        self._output = checked(self.config.output, SUFFIXES)
        self._folder, self._store = Path(self.config.hydra.sweep.dir), Store(self.config.results)
        self._ledger = Ledger.beside(self.config.results, self._folder)
        self._here = Here.of(self.config.hydra)
        self._returns: list[JobReturn] = []
        Announced().terms = Terms(self._here, has_children=type(self.launcher).__name__ == "JoblibLauncher")
        return asked

    def _jobs(self, asked: Sequence[Override]) -> Jobs:
        # Hydra makes its own classes anew when it looks for plugins, so they are not imported before.
        from hydra._internal.core_plugins.basic_sweeper import BasicSweeper

        return BasicSweeper.split_arguments(list(asked), None)[0]

    def _ended(self, jobs: Jobs, asked: Sequence[Override]) -> Sequence[Outcome]:
        """How each job stands after those that need it were run."""
        assert self.config is not None
        assert self.launcher is not None
        assert self.hydra_context is not None
        here, board, first = self._here, Board(self._folder), len(self._returns)
        # What a sweep in the same folder left there that was killed.
        board.clear()
        self._ledger.check_writable()
        finished = {} if self.config.force else _finished(self._ledger, self._store)
        measured_before = {job.run_id for job in finished.values()}
        pending = [job for job in jobs if here.spelling(job) not in finished]
        if pending and self._ahead is not None and self.config.isolation == "none":
            start_ahead()
        self._compose_each_value(pending, {one.key_or_group for one in asked if _is_group(one, self.hydra_context)})
        try:
            with Watch(board, first, len(pending), len(jobs) - len(pending), [as_typed(_swept(job, jobs)) for job in pending]):
                size = self._batch or len(pending)
                if self._ahead is not None:
                    self._ahead.expect(pending)
                while (done := len(self._returns) - first) < len(pending):
                    self._returns += self.launcher.launch(pending[done : done + size], initial_job_idx=len(self._returns))
        except KeyboardInterrupt:
            known = self._ledger.by_spelling()
            if ended := [job for job in jobs if here.spelling(job) in known]:
                self._tell(self._outcomes(ended, {}, measured_before))
            raise
        finally:
            board.clear()
        broken = {here.spelling(job): one for job, one in zip(pending, self._returns[first:], strict=True) if _raised(one)}
        return self._outcomes(jobs, broken, measured_before)

    def _outcomes(self, jobs: Jobs, broken: Mapping[str, JobReturn], measured_before: Container[str]) -> Sequence[Outcome]:
        ended = {spelling: job for spelling, job in self._ledger.by_spelling().items() if spelling not in broken}
        found = [
            ended.get(spelling) or _lost(spelling, job, broken.get(spelling))
            for job, spelling in ((job, self._here.spelling(job)) for job in jobs)
        ]
        return [Outcome(job, bool(job.run_id) and job.run_id in measured_before) for job in found]

    def _tell(self, rows: Sequence[Outcome]) -> None:
        self.exit_codes.append(tell(rows, self._store, self._folder, self._output))


def _is_group(override: Override, context: HydraContext) -> bool:
    return bool(context.config_loader.get_group_options(override.key_or_group))


def _check(asked: Sequence[Override]) -> None:
    for one in asked:
        if one.is_sweep_override() and one.key_or_group in ("results", "output", "force"):
            raise UsageError(f"{one.key_or_group} must have one value in a sweep; got {one.input_line!r}")


def _finished(ledger: Ledger, store: Store) -> Mapping[str, Job]:
    """Finished jobs whose measurements are still there, by spelling."""
    found = {spelling: job for spelling, job in ledger.by_spelling().items() if job.is_finished}
    kept = kept_runs(store, [job.run_id for job in found.values()])
    return {spelling: job for spelling, job in found.items() if job.run_id in kept}


def _each_value_once(jobs: Jobs, groups: Container[str]) -> Iterator[Sequence[str]]:
    """The fewest jobs, in order, that have every choice from some groups."""
    seen: set[str] = set()
    for job in jobs:
        choices = {one for one in job if one.partition("=")[0] in groups}
        if not seen or not seen.issuperset(choices):
            # Never empty, so that of jobs that choose nothing one is composed.
            seen |= choices | {""}
            yield job


def _swept(job: Sequence[str], jobs: Jobs) -> Sequence[str]:
    """The overrides in which jobs differ, all of them where there is one job."""
    common = set(job).intersection(*map(set, jobs)) if len(jobs) > 1 else set()
    return [one for one in job if one not in common]


def _raised(returned: JobReturn) -> Exception | None:
    """What a job ended with in place of a word in the ledger."""
    error = getattr(returned, "_return_value", None)
    return error if isinstance(error, Exception) else None


def _lost(spelling: str, overrides: Sequence[str], returned: JobReturn | None) -> Job:
    """A job of which the ledger has no word: it was refused at once, its process ended, or raised what nobody foresaw."""
    error = returned and _raised(returned)
    is_refused = isinstance(error, UsageError)
    said = "its process left no word of how it ended"
    if error:
        said = str(error) if is_refused else f"{type(error).__name__}: {error}"
    return Job(
        key="",
        spelling=spelling,
        status="refused" if is_refused else "failed",
        reason=" ".join(said.split()),
        exit_code=REFUSED if is_refused else 1,
        overrides=reproducing(overrides),
        started_at=utc_now(),
    )
