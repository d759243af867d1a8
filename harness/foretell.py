"""What the calibrated decode model says of situations, taken apart: time, its parts, and where its doubt comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .calibrate.decode import Calibration, with_intervals
from .calibrate.effects import Effect
from .calibrate.interval import Carried, undisclosed
from .calibrate.machines import fixed_us, terms_of
from .calibrate.situation import Situation
from .calibrate.step_model import design, predict
from .ranges import Range

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
    "mixture": "how mixtures stream",
    "early": "how early the software is",
}


@dataclass(frozen=True)
class Foretold:
    """The time of one situation.

    Attributes:
        time_us: 80 % interval and point, never below the physical floor.
        parts_us: of the point, by term.
        carried: how far the fit was carried.
        doubts: input -> share of the variance, largest first.
    """

    time_us: Range
    parts_us: Mapping[str, float]
    carried: Carried
    doubts: Mapping[str, float]


def foretell(given: Calibration, runs: Sequence[Situation]) -> list[Foretold]:
    """Of each situation, in order."""
    if not runs:
        return []
    whole = design(runs, given.fit.effects)
    times = predict(whole, given.fit)
    carried: list[Carried] = [given.seen.carried(run) for run in runs]
    found = with_intervals(given.doubt, runs, times.time_us, times.log_variance, carried)
    scatter = np.where(undisclosed(runs), given.doubt.undisclosed, given.doubt.benchmark)
    return [
        Foretold(
            Range(float(found.low[i]), float(found.point[i]), float(found.high[i])).under(1e6),
            _parts(run, times.parts_us[i]),
            carried[i],
            _doubts(run, whole.effects, times.doubt[i], float(scatter[i])),
        )
        for i, run in enumerate(runs)
    ]


def _parts(run: Situation, excess_us: np.ndarray) -> Mapping[str, float]:
    parts: dict[str, float] = {}
    rest = fixed_us(run)
    for term, excess in zip(terms_of(run), excess_us, strict=False):
        at_peak = term.amount_us if term.name in AT_PEAK else 0.0
        rest -= at_peak
        parts[term.name] = parts.get(term.name, 0.0) + at_peak + float(excess)
    # Machines whose weights stay beside the cores have no term for reading them: it is a hundredth of their time.
    return parts if rest < 1e-9 * sum(parts.values()) else {"reading": rest, **parts}


def _doubts(run: Situation, effects: Sequence[Effect], doubt: np.ndarray, scatter: float) -> Mapping[str, float]:
    by: dict[str, float] = {}
    for effect, variance in zip(effects, doubt, strict=True):
        name = _INPUTS.get(effect.family, "how the engine launches its kernels")
        by[name] = by.get(name, 0.0) + float(variance)
    unexplained = "undisclosed conditions of a service" if undisclosed([run])[0] else "scatter that the model does not explain"
    by[unexplained] = scatter**2
    total = sum(by.values())
    shares = {name: variance / total for name, variance in by.items() if variance > 0.005 * total}
    return dict(sorted(shares.items(), key=lambda one: -one[1]))
