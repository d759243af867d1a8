"""`roofcast gate selftest`: how small a slow-down the gate sees on this machine, and how often it errs."""

from __future__ import annotations

import functools
import hashlib
import json
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from omegaconf import DictConfig

from ...errors import UsageError
from ...host.host import fingerprint
from ...host.provenance import PACKAGE_FOLDER, checkout
from ...report.output import checked
from ...report.progress import Progress
from ...report.table import SUFFIXES, show, write
from ...shown import warn
from ..checkout import Revision, side_by_side
from ..command import cores_of, effort_of, policy_of, question_of
from ..judge import FIRST_SHARE
from ..pair import Side
from ..process import Process, RefusedError, WorkerLostError
from ..trial import Bench, Effort, NotComparableError
from ..verdict import NOT_COMPARABLE
from . import report
from .load import neighbour
from .rounds import Round, Series, Shelf


def run(config: DictConfig) -> int:
    """Measures what is missing, and shows the rates. Returns 0, or 3 where nothing could be measured."""
    question, policy, effort = question_of(config), policy_of(config), effort_of(config)
    for name in ("base", "head", "suite", "also", "save"):
        if config[name] is not None:
            raise UsageError(f"{name} must be null in a self-test of kernels; got {config[name]!r}")
    if config.harness != "gate":
        raise UsageError(f"harness must be gate in a self-test, where both revisions are one; got {config.harness!r}")
    if config.comparisons < 1:
        raise UsageError(f"comparisons must be a whole number from 1; got {config.comparisons}")
    if any(not 0 < one < 10 for one in config.slowdowns):
        raise UsageError(f"slowdowns must be shares above 0 such as 0.05; got {list(config.slowdowns)}")
    if not 0 <= config.peer_s < float("inf"):
        raise UsageError(f"peer_s must be a number of seconds from 0; got {config.peer_s}")
    output = checked(config.output, SUFFIXES)
    shelf = Shelf(Path(config.results) / "selftest" / _key(config, question, effort))
    rounds = shelf.rounds()
    try:
        with neighbour(is_there=config.load), side_by_side("HEAD", None, Path.cwd()) as (_, head, folder), Progress() as bar:
            revisions: Mapping[Side, Revision] = {"base": head, "head": head}
            rng = np.random.default_rng(config.seed + len(rounds))
            start = functools.partial(Process, cores=cores_of(config))
            while (done := _comparisons(rounds)) < config.comparisons:

                def progress(what: str, done: int = done) -> None:
                    bar(f"{done} of {config.comparisons} comparisons; {what}", done / config.comparisons)

                taken = _Taken(config.peer_s, effort.limit_s)
                bench = Bench(revisions, folder, question, policy, effort, rng, progress, start, besides=taken.take)
                one = _round(bench, taken, FIRST_SHARE * config.budget_s)
                shelf.add(one)
                rounds.append(one)
                print(f"round {len(rounds)}: {_comparisons(rounds)} comparisons kept", file=sys.stderr, flush=True)
    except NotComparableError as error:
        warn(f"nothing could be measured: {error}")
        return NOT_COMPARABLE
    tables = report.tables(rounds, policy, config.slowdowns, is_loaded=config.load)
    for table in tables:
        show(table)
    if output is not None:
        write(tables, output)
    print(f"\n  what was measured is kept in {shelf.put_away()}")
    return 0


class _Taken:
    """What each process gives alone, kernel after kernel, as a benchmark runner measures."""

    def __init__(self, seconds: float, limit_s: float) -> None:
        self.series: dict[Side, dict[str, Series]] = {"base": {}, "head": {}}
        self._seconds = seconds
        self._limit_s = limit_s

    def take(self, workers: Mapping[Side, Process], kernels: Sequence[str]) -> None:
        for side, worker in workers.items():
            for kernel in kernels if self._seconds else ():
                try:
                    said = worker.ask("series", self._limit_s, kernel=kernel, seconds=self._seconds)
                except (WorkerLostError, RefusedError) as error:
                    raise NotComparableError(f"{kernel} could not be timed by itself: {error}") from None
                self.series[side][kernel] = tuple(said["samples"])


def _round(bench: Bench, taken: _Taken, trial_s: float) -> Round:
    start = time.monotonic()
    trial = bench.run(start + trial_s)
    quads = {name: tuple(quads) for (name, _), quads in trial.quads.items() if quads}
    if not quads:
        reasons = "; ".join(side["reason"] for one in trial.prepared.values() for side in one.values() if side["reason"])
        raise NotComparableError(reasons or "the model calls no kernel that could be timed")
    alone = sum(sum(series) for side in taken.series.values() for series in side.values())
    return Round(quads, taken.series["base"], taken.series["head"], time.monotonic() - start - alone)


def _comparisons(rounds: Sequence[Round]) -> int:
    return sum(len(one.quads) for one in rounds)


def _key(config: DictConfig, question: Mapping[str, Any], effort: Effort) -> str:
    """Names everything that must be the same for a stopped self-test to be gone on with."""
    code = checkout(PACKAGE_FOLDER)
    asked = {name: value for name, value in question.items() if name != "free_bytes"}
    parts = [asked, asdict(effort), config.budget_s, config.least, config.load, config.peer_s, config.spare_cores]
    text = json.dumps([*parts, code.commit, code.dirty, fingerprint().key], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
