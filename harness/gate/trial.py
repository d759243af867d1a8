"""One pair of processes: both revisions prepared side by side and sampled by turns, until enough is known."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from .checkout import Revision
from .long_samples import PAIRED_SAMPLE_S, least_quads, sample_s
from .pair import Estimate, Quad, Side, judged, order
from .process import Process, RefusedError, WorkerLostError
from .verdict import Policy, Quantity

SIDES: tuple[Side, Side] = ("base", "head")
SHORTEST_SAMPLE_S = 1e-3
"""Half of what `measure.prepare` aims at, and misses where the machine was busy while it looked."""
LONGEST_SAMPLE_S = 0.1
"""A sample that takes longer meets more drift than it averages out."""
START_LIMIT_S = 120.0
"""Seconds that a process may take to import its code and answer for the first time."""

SHARPNESS = 3
"""An estimate is sharp enough where this many of its half-widths make the least change that matters."""

Key = tuple[str, Quantity]


class NotComparableError(Exception):
    """The revisions cannot be held against each other; the text says why, as a sentence."""


class _LostToKernelError(Exception):
    """A process ended over a kernel, which has been marked; the others need new processes."""


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes:
        least_quads, most_quads: of samples per kernel; the most only where the estimate is not sharp enough before.
        compile_pairs: compilations per kernel and revision; 0 leaves compile time out.
        limit_s: seconds that one answer may take before the kernel is said to hang.
    """

    least_quads: int
    most_quads: int
    compile_pairs: int
    limit_s: float


@dataclass
class Trial:
    """What one pair of processes gave.

    Attributes:
        prepared: kernel -> side -> the worker's answer to `prepare`, `status` and `reason` always; sides that lack the
            kernel are not there.
        quads: of every quantity, in the order in which they were taken; of compile times, pairs.
        hosts: side -> versions of the software that it ran with.
    """

    prepared: dict[str, dict[Side, Mapping[str, Any]]] = field(default_factory=dict)
    quads: dict[Key, list[Quad]] = field(default_factory=dict)
    hosts: dict[Side, Mapping[str, str]] = field(default_factory=dict)

    @property
    def estimates(self) -> dict[Key, Estimate]:
        """The shift of every quantity that has been measured."""
        return {key: judged(quads) for key, quads in self.quads.items() if quads}


@dataclass(frozen=True)
class Bench:
    """Where and how trials are run.

    Attributes:
        revisions: what is held against each other.
        folder: for the processes' links.
        question: what the workers are asked about; see `worker.Worker.open`.
        policy: says when an estimate is sharp enough.
        effort: how much is measured.
        rng: of the order of everything.
        progress: told what is being done.
        start: starts a worker on a revision in a folder.
        besides: called with the processes and the kernels that stand ready in them, after those were measured.
    """

    revisions: Mapping[Side, Revision]
    folder: Path
    question: Mapping[str, Any]
    policy: Policy
    effort: Effort
    rng: np.random.Generator
    progress: Callable[[str], None]
    start: Callable[[Revision, Path], Process] = Process
    besides: Callable[[Mapping[Side, Process], Sequence[str]], None] = lambda workers, kernels: None

    def run(self, deadline: float, only: Iterable[Key] | None = None) -> Trial:
        """Starts a fresh pair of processes and measures.

        Args:
            deadline: time of `time.monotonic()` after which nothing more is measured than the least number of quads.
            only: quantities to measure; all of every kernel if None.

        Raises:
            NotComparableError: if a revision does not come as far as naming its kernels.
        """
        trial = Trial()
        keys = None if only is None else set(only)
        while True:
            try:
                self._attempt(trial, keys, deadline)
            except _LostToKernelError:
                self.progress("starting both revisions again, without the kernel that ended one")
            else:
                return trial

    def _attempt(self, trial: Trial, only: set[Key] | None, deadline: float) -> None:
        with ExitStack() as stack:
            workers: dict[Side, Process] = {side: stack.enter_context(self._started(side)) for side in self._shuffled()}
            opened: dict[Side, Mapping[str, Any]] = {side: self._opened(side, workers[side]) for side in SIDES}
            trial.hosts = {side: opened[side]["host"] for side in SIDES}
            if not any(one["kernels"] for one in opened.values()):
                raise NotComparableError(f"neither revision has anything to time{_refusals(opened['head'])}")
            _note_one_sided(trial, opened)
            dispatch_us = min(one["dispatch_us"] for one in opened.values())
            sizes = {
                name: sum(one["kernels"][name] for one in opened.values())
                for name in opened["base"]["kernels"]
                if name in opened["head"]["kernels"] and (only is None or any(name == wanted for wanted, _ in only))
            }
            batches = list(_batches(sizes, self.question["free_bytes"]))
            for place, batch in enumerate(batches):
                names = [name for name in batch if _is_open(trial.prepared.get(name, {}))]
                for name in names:
                    self.progress(f"checking {name}")
                    self._prepare(trial, workers, name, dispatch_us)
                sound = [name for name in names if is_sound(trial.prepared[name])]
                share = (deadline - time.monotonic()) / (len(batches) - place)
                self._measure(trial, workers, sound, only, time.monotonic() + share)
                self.besides(workers, sound)
                for worker in workers.values():
                    worker.ask("release", self.effort.limit_s)

    def _started(self, side: Side) -> Process:
        count = sum(1 for _ in self.folder.glob(f"process-{side}-*"))
        return self.start(self.revisions[side], self.folder / f"process-{side}-{count}")

    def _opened(self, side: Side, worker: Process) -> Mapping[str, Any]:
        revision = self.revisions[side]
        try:
            answer = worker.ask("open", START_LIMIT_S, question=self.question)
        except (WorkerLostError, RefusedError) as error:
            raise NotComparableError(f"{side}, {revision.name}, cannot be measured: {error}") from None
        if Path(answer["home"]) != revision.folder.resolve():
            raise NotComparableError(f"{side} was to be measured from {revision.folder}; got {answer['home']}")
        return answer

    def _prepare(self, trial: Trial, workers: Mapping[Side, Process], name: str, dispatch_us: float) -> None:
        answers = trial.prepared.setdefault(name, {})
        for side in self._shuffled():
            # What ended a process once would end the next one too.
            if side not in answers or is_fine(answers[side]):
                answers[side] = self._ask(trial, workers, side, "prepare", name, dispatch_us=dispatch_us)
        if all(is_fine(one) for one in answers.values()):
            self._align(trial, workers, name)

    def _align(self, trial: Trial, workers: Mapping[Side, Process], name: str) -> None:
        """Has both sides sample in the same way: each found its own on a machine that was busier for the one or the other.

        A neighbour makes a kernel seem longer and a sample end after fewer calls, never the reverse, so the larger
        number is the true one, unless a side is slower indeed and its samples would last too long.
        """
        answers = trial.prepared[name]
        shortest_s = min(one["seconds"] for one in answers.values())
        longest_s = max(one["seconds"] for one in answers.values())
        enough = math.ceil(SHORTEST_SAMPLE_S / shortest_s)
        looped = [one["calls"] for one in answers.values() if not one["is_direct"]]
        is_short = max(one["calls"] for one in answers.values()) < enough
        if not looped and not is_short:
            return
        calls = 2 * enough if is_short else max(looped)
        calls = min(calls, max(1, int(LONGEST_SAMPLE_S / longest_s)))
        for side in SIDES:
            if answers[side]["is_direct"] or answers[side]["calls"] != calls:
                self._ask(trial, workers, side, "repeat", name, calls=calls)

    def _measure(
        self, trial: Trial, workers: Mapping[Side, Process], names: Sequence[str], only: set[Key] | None, deadline: float
    ) -> None:
        wanted: dict[Quantity, list[str]] = {"compile time": [], "latency": []}
        for quantity, kernels in wanted.items():
            kernels += [name for name in names if only is None or (name, quantity) in only]
        active = wanted["latency"]
        least = {name: least_quads(trial.prepared[name], self.effort.least_quads) for name in active}
        for place in range(self.effort.least_quads):
            self._round(trial, workers, [name for name in active if place < least[name]])
        for place in range(self.effort.compile_pairs):
            for name in self.rng.permutation(wanted["compile time"]).tolist():
                if time.monotonic() < deadline:
                    self.progress(f"compiling {name}, pair {place + 1} of {self.effort.compile_pairs}")
                    self._compare(trial, workers, (name, "compile time"), "compile", self._shuffled())
        # Looking after every quad would stop at the first lucky one.
        for _ in range(self.effort.least_quads, self.effort.most_quads, self.effort.least_quads):
            active = [name for name in active if not self._is_sharp(trial, name)]
            for _ in range(self.effort.least_quads):
                if time.monotonic() < deadline:
                    self._round(trial, workers, active)

    def _round(self, trial: Trial, workers: Mapping[Side, Process], names: Sequence[str]) -> None:
        for name in self.rng.permutation(names).tolist():
            self.progress(f"timing {name}")
            is_long = sample_s(trial.prepared[name]) > PAIRED_SAMPLE_S
            self._compare(trial, workers, (name, "latency"), "sample", self._shuffled() if is_long else order(self.rng))

    def _compare(self, trial: Trial, workers: Mapping[Side, Process], key: Key, what: str, turns: Sequence[Side]) -> None:
        seconds: dict[Side, list[float]] = {"base": [], "head": []}
        for side in turns:
            seconds[side].append(self._ask(trial, workers, side, what, key[0])["seconds"])
        quad = Quad(tuple(seconds["base"]), tuple(seconds["head"]))
        trial.quads.setdefault(key, []).append(quad)

    def _is_sharp(self, trial: Trial, name: str) -> bool:
        return judged(trial.quads[name, "latency"]).half_width <= self.policy.least_shift("latency") / SHARPNESS

    def _ask(
        self, trial: Trial, workers: Mapping[Side, Process], side: Side, what: str, kernel: str, **arguments: Any
    ) -> Mapping[str, Any]:
        try:
            return workers[side].ask(what, self.effort.limit_s, kernel=kernel, **arguments)
        except RefusedError as error:
            lost, reason = False, str(error)
        except WorkerLostError as error:
            lost, reason = True, f"its process {error}"
        failed = {"status": "failed", "reason": reason, "implementation": "", "exact": {}}
        if what == "prepare" and not lost:
            return failed
        # A process that is gone has taken everything that was prepared with it.
        trial.prepared[kernel][side] = failed
        raise _LostToKernelError

    def _shuffled(self) -> list[Side]:
        return [SIDES[place] for place in self.rng.permutation(2)]


def is_fine(answer: Mapping[str, Any]) -> bool:
    """A side could prepare the kernel and found it right."""
    return answer["status"] == "ok"


def is_sound(answers: Mapping[Side, Mapping[str, Any]]) -> bool:
    """No side has said anything against the kernel yet."""
    return all(is_fine(one) for one in answers.values())


def _refusals(opened: Mapping[str, Any]) -> str:
    reasons = dict.fromkeys(opened["refused"].values())
    return f": {'; '.join(reasons)}" if reasons else ""


def _is_open(answers: Mapping[Side, Mapping[str, Any]]) -> bool:
    """There is something left to ask of the kernel."""
    return len(answers) < len(SIDES) or is_sound(answers)


def _note_one_sided(trial: Trial, opened: Mapping[Side, Mapping[str, Any]]) -> None:
    """Notes kernels that only one side has, or that a side has no implementation for."""
    for side, other in (SIDES, SIDES[::-1]):
        theirs = opened[other]
        for name in opened[side]["kernels"]:
            if name not in theirs["kernels"]:
                answers = trial.prepared.setdefault(name, {})
                answers[side] = {"status": "ok", "reason": "", "implementation": "", "exact": {}}
                if reason := theirs["refused"].get(name):
                    answers[other] = {"status": "unsupported", "reason": reason, "implementation": "", "exact": {}}


def _batches(sizes: Mapping[str, float], budget_bytes: float) -> Iterator[list[str]]:
    """Kernels in order, cut wherever the operands of both sides would exceed the budget."""
    batch: list[str] = []
    held = 0.0
    for name, size in sizes.items():
        if batch and held + size > budget_bytes:
            yield batch
            batch, held = [], 0.0
        batch.append(name)
        held += size
    if batch:
        yield batch
