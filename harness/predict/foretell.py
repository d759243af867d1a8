"""What the calibrated decode model says of situations, taken apart: time, its parts, and where its doubt comes from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from ..calibrate.decode import Calibration, with_intervals
from ..calibrate.interval import undisclosed
from ..calibrate.machines.term import TERMS
from ..calibrate.ranges import Range
from ..calibrate.runs import Runs
from ..calibrate.step_model import Design, Times, design, doubt, predict

AT_PEAK = ("weights", "experts", "kv", "prefill")
"""Terms whose amount is a time at the machine's peak: the fixed part of the model holds it once, the term what exceeds it."""

_INPUTS: Mapping[str, str] = {
    "base": "the terms of the model",
    "machine": "the chip",
    "platform": "the platform",
    "memory": "the kind of memory",
    "kind": "the kind of machine",
    "engine": "the engine",
    "format": "the number format",
    "engine format": "the engine's kernels for the format",
    "chips": "how all-reduces grow with chips",
    "nodes": "links between nodes",
    "exchange": "how all-to-alls compare with all-reduces",
    "mixture": "how mixtures stream",
    "early": "how early the software is",
}


@dataclass(frozen=True)
class Foretold:
    """The times of some runs.

    Attributes:
        runs: that are spoken of.
        time_us: 80 % interval and point, never below the physical floor.
        parts_us: of the point, by term; 0 where a run has no such part.
        carried: how far the fit was carried, a place in `CARRIED`.
    """

    runs: Runs
    time_us: Range
    parts_us: Mapping[str, Float[np.ndarray, "runs"]]
    carried: Int[np.ndarray, "runs"]
    _given: Calibration
    _design: Design
    _times: Times

    def parts_of(self, run: int) -> dict[str, float]:
        """The parts that one run has."""
        return {name: float(part[run]) for name, part in self.parts_us.items() if part[run]}

    def doubts_of(self, run: int) -> Mapping[str, float]:
        """Input -> share of the variance of one run, largest first."""
        by: dict[str, float] = {}
        for effect, variance in doubt(self._design, self._given.fit, self._times, run).items():
            name = _INPUTS.get(effect.family, "how the engine launches its kernels")
            by[name] = by.get(name, 0.0) + float(variance)
        is_hidden = self._undisclosed[run]
        unexplained = "undisclosed conditions of a service" if is_hidden else "scatter that the model does not explain"
        by[unexplained] = float(self._scatter[run]) ** 2
        total = sum(by.values())
        shares = {name: variance / total for name, variance in by.items() if variance > 0.005 * total}
        return dict(sorted(shares.items(), key=lambda one: -one[1]))

    @cached_property
    def _undisclosed(self) -> Bool[np.ndarray, "runs"]:
        return undisclosed(self.runs)

    @cached_property
    def _scatter(self) -> Float[np.ndarray, "runs"]:
        return self._given.doubt.scatter(self.runs)


def foretell(given: Calibration, runs: Runs) -> Foretold:
    """Of each run, at least one, in order."""
    whole = design(runs)
    times = predict(whole, given.fit)
    carried = given.seen.carried(runs)
    found = with_intervals(given.doubt, runs, times.time_us, times.log_variance, carried)
    time_us = Range(found.low, found.point, found.high).under(1e6)
    return Foretold(runs, time_us, _parts(whole, times), carried, given, whole, times)


def _parts(whole: Design, times: Times) -> Mapping[str, Float[np.ndarray, "runs"]]:
    rest, parts = whole.fixed_us, {}
    for term, amount, excess in zip(TERMS, whole.amount_us, times.parts_us, strict=True):
        at_peak = amount if term in AT_PEAK else np.zeros_like(amount)
        rest = rest - at_peak
        parts[term] = at_peak + excess
    # Machines whose weights stay beside the cores have no term for reading them: it is a hundredth of their time.
    return {"reading": np.where(rest < 1e-9 * times.time_us, 0.0, rest), **parts}
