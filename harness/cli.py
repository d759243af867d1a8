"""The command `roofcast VERB [overrides]`: one grammar, Hydra's, for every verb."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

import hydra
from hydra._internal.utils import get_args_parser
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from . import config as schemas
from .errors import UsageError
from .overrides import check, explain, prepared

VERBS: Mapping[str, tuple[str, str]] = {
    "bench": (".sweep.job", "measure the kernels of a decode step here and carry them to other machines"),
    "table": (".table", "print the tables of measurements that are already in the store"),
    "predict": (".ask", "say how fast a model runs on a machine, how sure that is, what it draws and what it costs"),
    "claims": (".claims", "check the figures of an article on wafer-scale decode against physics and prediction"),
    "validate": (".validate", "set predictions beside published speeds and say how far they are off"),
    "gate": (".gate.command", "say whether a revision makes any kernel slower, or wrong, than another"),
    "doctor": (".checkup", "say what on this machine will spoil a measurement, and what to do about it"),
}
"""Verb -> module with `run(config) -> int`, and what it does. Modules are imported only when their verb runs."""

OK, FAILED, USAGE = 0, 1, 2
"""Exit codes: done; something measured or read was wrong; the command could not be understood or obeyed."""
_GATE_USAGE = 4
"""The last of these from the gate, whose 2 says that it is inconclusive."""


def main() -> None:
    """Entry point of the console script."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader of our output has gone: there is nobody left to tell, not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; bad input becomes one sentence on standard error."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(_overview())
        return OK if arguments else USAGE
    verb, *rest = arguments
    if verb not in VERBS:
        return _complain(f"the first word must be one of {', '.join(VERBS)}; got {verb!r}")
    try:
        return _hydra(verb, rest)
    except KeyboardInterrupt:
        return _complain("stopped; kernels that were finished are in the store, and nothing that was there is harmed", verb)


def _hydra(verb: str, overrides: Sequence[str]) -> int:
    codes: list[int] = []
    is_running = False
    action: Callable[[DictConfig], int] = importlib.import_module(VERBS[verb][0], __package__).run

    def job(config: DictConfig) -> None:
        nonlocal is_running
        is_running = True
        if HydraConfig.get().mode is RunMode.MULTIRUN and verb != "bench":
            print(f"\n{' '.join(HydraConfig.get().overrides.task) or 'defaults'}")
        try:
            check(config, verb)
            codes.append(action(config))
        except UsageError as error:
            # One configuration that cannot be must not cost a sweep the others.
            codes.append(_complain(str(error), verb))

    schemas.register()
    if verb == "bench":
        # The other verbs have no use for what it imports.
        from .sweep.sweeper import register

        register(codes)
    # Hydra then hands errors on as exceptions instead of printing its own report of them.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _check_options(overrides)
        sys.argv = [f"roofcast {verb}", *prepared(overrides)]
        hydra.main(version_base="1.3", config_path="pkg://roofcast.conf", config_name=verb)(job)()
    except Exception as error:
        # Hydra's parser and composer raise whatever they meet; what comes before the first job is about the command line.
        if (is_running or isinstance(error, BrokenPipeError)) and not isinstance(error, UsageError):
            raise
        return _complain(explain(error, verb), verb)
    return max(codes, default=OK)


def _check_options(arguments: Sequence[str]) -> None:
    """Raises UsageError where Hydra's own parser would print how it is used and end the process."""
    parser = get_args_parser()
    # Its only other way to end is to exit.
    parser.error = _refuse
    parser.parse_args(arguments)


def _refuse(message: str) -> NoReturn:
    raise UsageError(f"options must be those of Hydra, such as -m, --help or --cfg job; got {message}")


def _complain(sentence: str, verb: str = "") -> int:
    print(f"roofcast: {sentence}", file=sys.stderr)
    return _GATE_USAGE if verb == "gate" else USAGE


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  roofcast {verb:<{width}}  {what}" for verb, (_, what) in VERBS.items()]
    return "\n".join(
        [
            "How fast would this transformer decode step run on that chip, and how sure are we?",
            "",
            *lines,
            "",
            "Every verb takes Hydra overrides: roofcast bench model=qwen3-0.6b context=8192",
            "roofcast VERB --help lists the groups and every key.",
        ]
    )
