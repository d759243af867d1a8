"""From overrides to configurations, one or a sweep of them, each handed to its verb."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from ..config import registration
from ..config.filters import as_filters
from ..config.overrides import check, check_replaces_nothing_read, check_written_once, explain, of_job, prepared, with_files
from ..errors import UsageError
from .exits import OK, NobodyReadsError, complain, typed

_SHORTHAND: Mapping[str, Callable[[Sequence[str]], Sequence[str]]] = {"import": with_files, "table": as_filters}
"""Verb -> what makes overrides of words that only it takes."""
_SWEEPS_AS_ONE = "bench"
"""The verb whose sweeps end in one table, and so in one file; the jobs of any other stand for themselves."""
_VERSION, _FOLDER = "1.3", "roofcast.conf"


def run(verb: str, overrides: Sequence[str], action: Callable[[DictConfig], int]) -> int:
    """Runs a verb on every configuration that the overrides make, and returns the worst exit code."""
    codes: list[int] = []
    is_running = False

    def job(config: DictConfig) -> None:
        nonlocal is_running
        is_running = True
        try:
            if HydraConfig.get().mode is RunMode.MULTIRUN and verb != _SWEEPS_AS_ONE:
                print(f"\n{' '.join(of_job()) or 'defaults'}")
            check(config, verb)
            codes.append(action(config))
        except UsageError as error:
            # One configuration that cannot be must not cost a sweep the others.
            codes.append(complain(str(error), verb))
            if HydraConfig.get().mode is RunMode.MULTIRUN and verb == _SWEEPS_AS_ONE:
                # Its table tells of it.
                raise
        except BrokenPipeError:
            raise NobodyReadsError from None

    registration.register([verb])
    if verb == _SWEEPS_AS_ONE:
        # The other verbs have no use for what it imports.
        from ..sweep.plugins import register

        register(codes)
    # Hydra then hands errors on as exceptions instead of printing its own report of them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _check_options(overrides)
        if verb != _SWEEPS_AS_ONE:
            check_written_once(overrides)
        check_replaces_nothing_read(overrides)
        words = prepared(_SHORTHAND[verb](overrides) if verb in _SHORTHAND else overrides)
        if any(one.lstrip("+~").startswith(("-", "hydra")) for one in words):
            sys.argv = [f"roofcast {typed(verb)}", *words]
            hydra.main(version_base=_VERSION, config_path=f"pkg://{_FOLDER}", config_name=verb)(job)()
        else:
            job(_composed(verb, words))
    except Exception as error:
        # Hydra's parser and composer raise whatever they meet; what comes before the first job is about the command line.
        if (is_running or isinstance(error, BrokenPipeError)) and not isinstance(error, UsageError):
            raise
        return complain(explain(error, verb), verb)
    return max(codes, default=OK)


def _check_options(arguments: Sequence[str]) -> None:
    """Raises UsageError where Hydra's own parser would print how it is used and end the process."""
    parser = get_args_parser()
    # Its only other way to end is to exit.
    parser.error = _refuse
    # Overrides may stand on both sides of an option here, which `prepared` puts in order.
    parser.parse_intermixed_args(list(arguments))


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"options must be those of Hydra, such as -m, --help or --cfg job; got {message}")


def _composed(verb: str, overrides: Sequence[str]) -> DictConfig:
    """The one configuration of a job that is no sweep. `hydra.main` would compose it twice, the first time for its mode."""
    with hydra.initialize_config_module(_FOLDER, job_name=f"roofcast {typed(verb)}", version_base=_VERSION):
        config = hydra.compose(verb, list(overrides), return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    config = config.copy()
    with open_dict(config):
        del config["hydra"]
    return config
