"""Measured kernels against predicted ones: each row by a fit that has not seen its chip, and what that adds up to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Shaped

from ..calibrate.kernels.calibration import (
    FITTED,
    HELD_OUT,
    SPECIFICATION,
    Latencies,
    Measured,
    doubt,
    evidence,
    fits,
    fits_without,
    latencies,
    located,
)
from ..calibrate.kernels.rows import Rows
from ..calibrate.published import Refused


@dataclass(frozen=True)
class Verdicts:
    """What was predicted of a file's rows, and what was not.

    Attributes:
        measured: the predicted rows, in the file's order.
        found: their predicted latencies.
        basis: how each was predicted: `fitted`, `leave-one-chip-out` or `specification`.
        refused: the other lines, in the file's order.
    """

    measured: Measured
    found: Latencies
    basis: Shaped[np.ndarray, "rows"]
    refused: tuple[Refused, ...]

    @property
    def error(self) -> Float[np.ndarray, "rows"]:
        """Predicted over measured, less 1."""
        return self.found.point / self.measured.rows.latency_us - 1

    @property
    def is_inside(self) -> Bool[np.ndarray, "rows"]:
        """The measured latency lies in the 80 % interval."""
        latency_us = self.measured.rows.latency_us
        return (self.found.low <= latency_us) & (latency_us <= self.found.high)


@dataclass(frozen=True)
class Score:
    """Rows, median and 90th percentile of the absolute error, and the share inside the interval, as fractions."""

    rows: int
    median: float
    tail: float
    inside: float


def score(verdicts: Verdicts, chosen: Bool[np.ndarray, "rows"]) -> Score:
    """The score of some of the rows; of none, zeros."""
    error = np.abs(verdicts.error[chosen])
    if not len(error):
        return Score(0, 0.0, 0.0, 0.0)
    inside = float(np.mean(verdicts.is_inside[chosen]))
    return Score(len(error), float(np.median(error)), float(np.percentile(error, 90)), inside)


def validate(rows: Rows, bad: Sequence[Refused] = ()) -> Verdicts:
    """Predicts every row whose chip is known.

    A row that stands in the evidence is predicted by a fit without its chip; another row on a chip of the evidence by the
    fit to all of it; a row on any other chip by that fit too, from the chip's specification.

    Args:
        rows: that could be read.
        bad: lines that could not.
    """
    measured, known, reasons = located(rows)
    left = rows[~known]
    unknown = [
        Refused(int(line), str(name), str(chip), f"line {line}: {reasons[str(chip)]}")
        for line, name, chip in zip(left.line, left.id, left.chip, strict=True)
    ]
    basis = _basis(measured)
    low, point, high = (np.zeros(len(measured.rows)) for _ in range(3))
    for how in (FITTED, SPECIFICATION):
        _fill((low, point, high), np.flatnonzero(basis == how), measured, how)
    for device in np.unique(measured.device[basis == HELD_OUT]).tolist():
        _fill((low, point, high), np.flatnonzero((basis == HELD_OUT) & (measured.device == device)), measured, HELD_OUT)
    refused = sorted([*bad, *unknown], key=lambda one: one.line)
    return Verdicts(measured, Latencies(low, point, high), basis, tuple(refused))


def _basis(measured: Measured) -> Shaped[np.ndarray, "rows"]:
    known = evidence()
    seen = set(zip(known.device.tolist(), known.rows.keys(), strict=True))
    devices = {device for device, _ in seen}
    told = [
        (HELD_OUT if (device, key) in seen else FITTED) if device in devices else SPECIFICATION
        for device, key in zip(measured.device.tolist(), measured.rows.keys(), strict=True)
    ]
    return np.array(told, dtype=str)


def _fill(into: tuple[np.ndarray, ...], chosen: np.ndarray, measured: Measured, how: str) -> None:
    if not len(chosen):
        return
    mine = measured[chosen]
    hidden = str(mine.device[0]) if how == HELD_OUT else ""
    fitted = fits_without(hidden) if hidden else fits()
    found = latencies(mine, fitted, doubt(), is_fitted=how == FITTED, hidden=hidden)
    for place, column in zip(into, (found.low, found.point, found.high), strict=True):
        place[chosen] = column
