"""Pure statistics of paired samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

CONFIDENCE = 0.95
"""Level of every interval on a measured median."""
RESAMPLES = 999


@dataclass(frozen=True)
class Interval:
    """A median with its bootstrap interval."""

    low: float
    point: float
    high: float

    @property
    def relative_half_width(self) -> float:
        """Half the interval's width over its point."""
        return (self.high - self.low) / 2 / abs(self.point) if self.point else float("inf")


def median_interval(values: Float[np.ndarray, "samples"], seed: int = 0) -> Interval:
    """The median and its percentile-bootstrap interval (Efron and Tibshirani 1993, chapter 13).

    One sample has no spread to learn from: its interval is the whole positive line's worst case, 0 to infinity.
    """
    point = float(np.median(values))
    if len(values) < 2:
        return Interval(0.0, point, float("inf"))
    if np.ptp(values) == 0:
        return Interval(point, point, point)
    picked = np.random.default_rng(seed).integers(len(values), size=(RESAMPLES, len(values)))
    low, high = np.quantile(np.median(np.asarray(values)[picked], axis=1), ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2))
    return Interval(float(low), point, float(high))


def calm_level(rates: Float[np.ndarray, "samples"], usual: float | None = None) -> float:
    """The rate of a probe on the undisturbed machine: the 90th percentile of this run, or what is usual if more.

    A neighbour slows a probe and never speeds it up, so the upper end of the distribution is the machine itself;
    the maximum would be one lucky sample.
    """
    level = float(np.quantile(rates, 0.9))
    return max(level, usual or 0.0)


def calm(
    rates: Float[np.ndarray, "samples probes"], levels: Float[np.ndarray, "probes"], tolerance: float
) -> Bool[np.ndarray, "samples"]:
    """Samples beside which every probe ran within `tolerance` of its calm level."""
    return np.all(rates >= (1 - tolerance) * levels, axis=1)


def disturbance(rates: Float[np.ndarray, "samples probes"], levels: Float[np.ndarray, "probes"]) -> float:
    """How much of the machine was gone in the median sample: 0 when calm, 0.5 when the worst probe ran at half its level."""
    return max(0.0, 1 - float(np.median((rates / levels).min(axis=1))))
