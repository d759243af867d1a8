"""How sure a predicted time is: from the parameters' doubt, the rows' own scatter, and how far the model has been carried."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from .runs import Runs

Carried = Literal["fitted", "new engine", "new machine", "new machine and engine"]
CARRIED: tuple[Carried, ...] = ("fitted", "new engine", "new machine", "new machine and engine")

Z_80 = 1.2815515655446004
"""Standard normal quantile of 0.9: four fifths lie within it on either side."""

_BENCHMARK_HUBER = 0.08
_SERVICE_HUBER = 0.25


@dataclass(frozen=True)
class Doubt:
    """What intervals are made of, learned from rows that the fit had not seen.

    Attributes:
        benchmark: standard deviation of the log time of benchmarks, beyond the parameters' doubt.
        undisclosed: the same of providers' speeds and of rows whose bits or chips had to be guessed.
        widening: factor on the whole, by how far the fit was carried.
    """

    benchmark: float
    undisclosed: float
    widening: Mapping[Carried, float]

    def log_sd(
        self, runs: Runs, carried: Int[np.ndarray, "runs"], log_variance: Float[np.ndarray, "runs"]
    ) -> Float[np.ndarray, "runs"]:
        """Standard deviation of the predicted log time of each run."""
        widening = np.array([self.widening[how] for how in CARRIED])[carried]
        return widening * np.sqrt(log_variance + self.scatter(runs) ** 2)

    def scatter(self, runs: Runs) -> Float[np.ndarray, "runs"]:
        """What the model does not explain, of each run."""
        return np.where(undisclosed(runs), self.undisclosed, self.benchmark)


@dataclass(frozen=True)
class Seen:
    """The machines and engines that a fit's evidence has."""

    machines: frozenset[str]
    engines: frozenset[str]

    @classmethod
    def of(cls, runs: Runs) -> Seen:
        """What the runs have."""
        return cls(
            frozenset(runs.devices[i].name for i in np.unique(runs.device)),
            frozenset(runs.engines[i].name for i in np.unique(runs.engine)),
        )

    def carried(self, runs: Runs) -> Int[np.ndarray, "runs"]:
        """How far a fit on the evidence must be carried to each run: a place in `CARRIED`."""
        new_engine = runs.by_engine(lambda engine: engine.name not in self.engines)
        new_machine = runs.by_device(lambda device: device.name not in self.machines)
        return new_engine.astype(np.int64) + 2 * new_machine


def undisclosed(runs: Runs) -> Bool[np.ndarray, "runs"]:
    """Whether batch, bits, chips or the model's shape are not published, of each run."""
    return runs.by_engine(lambda engine: engine.service) | runs.is_guessed | (runs.size != 1.0)


def huber(runs: Runs) -> Float[np.ndarray, "runs"]:
    """Log residual beyond which a row counts less in the fit.

    Repeated rows of one configuration agree to a few per cent among benchmarks, to a quarter among providers' speeds.
    """
    return np.where(runs.by_engine(lambda engine: engine.service), _SERVICE_HUBER, _BENCHMARK_HUBER)


def scatter_of(residual: Float[np.ndarray, "rows"], log_variance: Float[np.ndarray, "rows"]) -> float:
    """The standard deviation that, with the parameters' variance, makes 80 % intervals hold 80 % of the residuals."""
    low, high = 0.0, 5.0
    for _ in range(50):
        middle = (low + high) / 2
        held = np.mean(np.abs(residual) <= Z_80 * np.sqrt(log_variance + middle**2))
        low, high = (low, middle) if held >= 0.8 else (middle, high)
    return high


def bounds(
    time_us: Float[np.ndarray, "runs"], log_sd: Float[np.ndarray, "runs"], floor_us: Float[np.ndarray, "runs"]
) -> tuple[Float[np.ndarray, "runs"], Float[np.ndarray, "runs"]]:
    """Shortest and longest time of the 80 % interval; nothing is shorter than the physical floor."""
    return np.maximum(floor_us, time_us * np.exp(-Z_80 * log_sd)), time_us * np.exp(Z_80 * log_sd)
