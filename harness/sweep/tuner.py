"""A sweep that searches: Optuna says what to try next, from what the trials before it reached of their ceiling."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from hydra.core.override_parser.types import IntervalSweep, Override
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from ..config.overrides import as_typed
from ..errors import UsageError
from .ledger import Job
from .outcome import Outcome
from .sweeper import ResumingSweeper

if TYPE_CHECKING:
    import optuna


class TuningSweeper(ResumingSweeper):
    """Tries values until a number of trials is reached; what is best reaches most of its ceilings (geometric mean).

    A time would say as much, but for the machine, which is faster in one minute than in the next: the fraction is taken
    against probes beside the samples.
    """

    def __init__(self, trials: int, at_once: int, seed: int, params: Mapping[str, str] | None) -> None:
        super().__init__(at_once, params)
        for name, count in (("trials", trials), ("at_once", at_once)):
            if count < 1:
                raise UsageError(f"hydra.sweeper.{name} must be a whole number from 1; got {count}")
        self._trials, self._at_once, self._seed = trials, at_once, seed

    def sweep(self, arguments: list[str]) -> Any:
        optuna = _optuna()
        asked = self._asked(arguments)
        searched = {one.key_or_group: self._distribution(one) for one in asked if one.is_sweep_override()}
        if not searched:
            raise UsageError("a search must have a key to search, such as blocks.gemv_grain_bytes='interval(4096,1048576)'")
        fixed = [one.input_line or "" for one in asked if not one.is_sweep_override()]
        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=self._seed))
        rows: dict[str, Outcome] = {}
        while (left := self._trials - len(study.trials)) > 0:
            trials = [study.ask(searched) for _ in range(min(left, self._at_once))]
            jobs = [(*fixed, *(f"{name}={value}" for name, value in one.params.items())) for one in trials]
            # Trials may be equal, and are then one job.
            outcomes = dict(zip(distinct := list(dict.fromkeys(jobs)), self._ended(distinct, asked), strict=True))
            # What is tried again was finished before, by this search.
            rows = {one.job.key or one.job.overrides: one for one in outcomes.values()} | rows
            for trial, job in zip(trials, jobs, strict=True):
                reached = self._reached(outcomes[job].job)
                failed = None if reached else optuna.trial.TrialState.FAIL
                study.tell(trial, reached, state=failed)
                print(_line(trial.number + 1, self._trials, trial.params, reached))
        self._tell(list(rows.values()))
        if any(one.value is not None for one in study.trials):
            print(f"  best: {as_typed([f'{name}={value}' for name, value in study.best_params.items()])}")
        return [self._returns]

    def _distribution(self, override: Override) -> optuna.distributions.BaseDistribution:
        """What Hydra calls a sweep, as Optuna calls it: `interval(1,9)`, on a logarithmic scale `tag(log,interval(1,9))`."""
        distributions, value = _optuna().distributions, override.value()
        if isinstance(value, IntervalSweep):
            assert value.start is not None
            assert value.end is not None
            is_log = "log" in value.tags
            if self._takes_fractions(override.key_or_group):
                return distributions.FloatDistribution(value.start, value.end, log=is_log)
            return distributions.IntDistribution(int(value.start), int(value.end), log=is_log)
        # As Hydra writes them: a list or a null is then a choice too.
        return distributions.CategoricalDistribution([str(one) for one in override.sweep_string_iterator()])

    def _takes_fractions(self, key: str) -> bool:
        """Hydra writes whole numbers of an interval as fractions."""
        assert self.config is not None
        try:
            OmegaConf.update(copy.deepcopy(self.config), key, 0.5)
        except OmegaConfBaseException:
            return False
        return True

    def _reached(self, job: Job) -> float | None:
        """What a job's kernels reach of their ceilings; None where none came to a share of one."""
        if job.status != "done" or job.exit_code:
            return None
        asked = "SELECT fraction_of_ceiling AS reached FROM records WHERE run_id = ? AND fraction_of_ceiling > 0"
        found = [row["reached"] for row in self._store.query(asked, [job.run_id]).found]
        return float(np.exp(np.mean(np.log(found)))) if found else None


@dataclass
class Configuration:
    """`hydra/sweeper=tune`.

    Attributes:
        trials: to try in all; one that was measured before is not measured again.
        at_once: trials that are chosen before the results of any of them are known, for a launcher that runs several.
        seed: of the search.
    """

    _target_: str = "hydra_plugins.roofcast.TuningSweeper"
    trials: int = 30
    at_once: int = 1
    seed: int = 0
    params: dict[str, str] | None = None


def _optuna() -> Any:
    install = "pip install 'roofcast[optuna]'"
    try:
        import optuna
    except ImportError:
        raise UsageError(f"hydra/sweeper=tune needs the extra optuna, which is not installed: {install}") from None
    if not hasattr(optuna.distributions, "IntDistribution"):
        # hydra-optuna-sweeper installs one below 3.
        raise UsageError(f"hydra/sweeper=tune needs a later Optuna: {install}; got {optuna.__version__}")
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna


def _line(number: int, of: int, params: Mapping[str, Any], reached: float | None) -> str:
    tried = as_typed([f"{name}={value}" for name, value in params.items()])
    came = f"{reached:.1%} of the ceiling" if reached else "came to no share of a ceiling"
    return f"  trial {number} of {of}: {came} with {tried}"
