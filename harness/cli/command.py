"""The command `roofcast VERB [overrides]`: one grammar, Hydra's, for every verb."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext

from ..shown import take_any_text
from .exits import FAILED, INTERRUPTED, OK, USAGE, NobodyReadsError, complain, typed
from .folding import folded_to_terminal

__all__ = ["FAILED", "INTERRUPTED", "OK", "USAGE", "VERBS", "main", "run"]

VERBS: Mapping[str, tuple[str, str]] = {
    "bench": ("sweep.job", "measure the kernels of a decode step here and carry them to other machines"),
    "table": ("verbs.table", "print the tables of measurements that are already in the store"),
    "predict": ("verbs.predict", "say how fast a model runs on a machine, how sure that is, what it draws and what it costs"),
    "claims": ("verbs.claims", "check the figures of an article on wafer-scale decode against physics and prediction"),
    "report": ("verbs.report", "write one HTML file with every plot, prediction, claim and source, to read or to send"),
    "validate": ("verbs.validate", "set predictions beside published speeds and say how far they are off"),
    "import": ("verbs.import_", "take decode speeds that other tools measured as evidence"),
    "gate": ("gate.command", "say whether a revision makes any kernel slower, or wrong, than another"),
    "gate_selftest": (
        "gate.selftest.command",
        "say how small a slow-down the gate sees on this machine, and how often it errs",
    ),
    "history": ("verbs.history", "show every kernel over the commits that it was measured at, and where it changed"),
    "doctor": ("verbs.doctor", "say what on this machine will spoil a measurement, and what to do about it"),
}
"""Verb -> module of the harness with `run(config) -> int`, and what it does. Modules are imported only when their verb runs.

A verb of two words is typed with a space between them: its name here is that of its configuration.
"""

_ARITHMETIC = ("table", "predict", "claims", "validate", "report")
"""Verbs whose matrices are so small that threads would only wait for one another."""
_STOPPED = {"bench": "stopped; what was finished is in the store, and the same command of a sweep goes on from there"}
"""What a verb that was interrupted says, where that is more than that it stopped."""


def main() -> None:
    """Entry point of the console script."""
    take_any_text()
    if sys.argv[1:2] and sys.argv[1] in _ARITHMETIC:
        # Read when NumPy is imported, which the verbs do.
        os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
        # They end before there is anything to collect but what the imports made, which stays to the end.
        gc.disable()
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except (BrokenPipeError, NobodyReadsError):
        # The reader of our output has gone: there is nobody left to tell, not even when Python flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = OK
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Runs one command line and returns its exit code; bad input becomes one sentence on standard error."""
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        with folded_to_terminal():
            print(_overview())
        return OK if arguments else USAGE
    verb, *rest = arguments
    if rest and f"{verb}_{rest[0]}" in VERBS:
        verb, *rest = f"{verb}_{rest[0]}", *rest[1:]
    if verb not in VERBS or "_" in arguments[0]:
        words = ", ".join(verb for verb in VERBS if "_" not in verb)
        return complain(f"the first word must be one of {words}; got {arguments[0]!r}")
    try:
        jobs = importlib.import_module(".jobs", __package__)
        is_help = not {"-h", "--help"}.isdisjoint(rest)
        with folded_to_terminal() if is_help else nullcontext():
            return jobs.run(verb, rest, importlib.import_module(f"..{VERBS[verb][0]}", __package__).run)
    except KeyboardInterrupt:
        complain(_STOPPED.get(verb, "stopped"), verb)
        return INTERRUPTED


def _overview() -> str:
    width = max(map(len, VERBS))
    lines = [f"  roofcast {typed(verb):<{width}}  {what}" for verb, (_, what) in VERBS.items()]
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
