"""Pure statistics of paired samples."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

CONFIDENCE = 0.95
"""Level of every interval on a measured median."""
RESAMPLES = 999
_APART = 0.12
"""Logarithm of the ratio of two speeds at the least: one speed wanders by less."""
_SHARE, _FEWEST = 0.2, 3
"""Of the samples, and how many, that show a speed."""


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


def speeds(rates: Float[np.ndarray, "samples"]) -> tuple[float, float | None]:
    """The speed of a probe, and a lower one that it had by turns; None where it had one.

    Two clusters of logarithms, cut where their spread is least (Otsu 1979), are two speeds where each has a fifth of the
    samples and they lie five times as far apart as they are wide: a neighbour who comes and goes scatters rates, and the clock
    of a memory does not. Of a smaller cluster nothing is known; the speed is then the other's.
    """
    ordered = np.sort(np.log(rates))
    count, cuts = len(rates), range(_FEWEST, len(rates) - _FEWEST + 1)
    if not cuts:
        return _highest(rates), None
    cut = min(cuts, key=lambda one: ordered[:one].var() * one + ordered[one:].var() * (count - one))
    slow, fast = ordered[:cut], ordered[cut:]
    apart, width = np.median(fast) - np.median(slow), float(np.sqrt((slow.var() * cut + fast.var() * (count - cut)) / count))
    if apart < max(_APART, 5 * width):
        return _highest(rates), None
    if min(cut, count - cut) < _SHARE * count:
        return _highest(np.exp(slow if cut > count / 2 else fast)), None
    return float(np.exp(np.median(fast))), float(np.exp(np.median(slow)))


def _highest(rates: Float[np.ndarray, "samples"]) -> float:
    """The upper end of the distribution: a neighbour slows a probe and never speeds it up, and the maximum is luck."""
    return float(np.quantile(rates, 0.9))


@dataclass(frozen=True)
class Calm:
    """The rates of a probe on the undisturbed machine.

    Attributes:
        level: of the machine at its best.
        slower: a lower speed that is the machine's own too; None where it has none.
    """

    level: float
    slower: float | None = None

    @classmethod
    def of(cls, rates: Float[np.ndarray, "samples"], usual: float | None = None, *, has_speeds: bool = False) -> Calm:
        """What the rates of a run show, or what is usual if more.

        Args:
            rates: of one run.
            usual: on this host, None where there is no history.
            has_speeds: a lower speed that rates keep to is the machine's own.
        """
        if not has_speeds:
            return cls(max(_highest(rates), usual or 0.0))
        fast, slow = speeds(rates)
        if slow is not None or usual is None or fast > usual / (1 + _APART):
            return cls(max(fast, 0.0 if slow else usual or 0.0), slow)
        low, high = np.quantile(rates, (0.25, 0.75))
        # A run that kept to one speed, though not to the usual one, is no disturbance.
        return cls(usual, float(np.median(rates)) if high < (1 + _APART) * low else None)

    def band(self, rates: Float[np.ndarray, "*samples"], tolerance: float) -> Int[np.ndarray, "*samples"]:
        """0 where a rate is of the level, 1 where it is of the slower one, -1 where it is of neither."""
        is_slower = np.zeros(np.shape(rates), bool)
        if self.slower is not None:
            is_slower = (rates >= (1 - tolerance) * self.slower) & (rates <= (1 + tolerance) * self.slower)
        return np.where(rates >= (1 - tolerance) * self.level, 0, np.where(is_slower, 1, -1))


def disturbance(rates: Float[np.ndarray, "samples probes"], levels: Float[np.ndarray, "probes"]) -> float:
    """How much of the machine was gone in the median sample: 0 when calm, 0.5 when the worst probe ran at half its level."""
    return max(0.0, 1 - float(np.median((rates / levels).min(axis=1))))
