"""Published speeds against predicted ones: each row predicted by a fit that has not seen it, and what that adds up to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from ..calibrate.cross_validation import folds, held_out, one_by_one
from ..calibrate.decode import Speeds, calibration, evidence, speeds, with_intervals
from ..calibrate.interval import CARRIED
from ..calibrate.published import Published, Refused, situation
from ..calibrate.runs import Runs
from ..calibrate.situation import Situation
from ..errors import UsageError

CROSS_VALIDATED = "cross-validated"

LEVELS: Mapping[str, Callable[[Situation], str]] = {
    "machine": lambda run: run.device.name,
    "kind of machine": lambda run: " ".join(dict.fromkeys(filter(None, (run.device.kind, run.device.platform)))),
    "engine": lambda run: run.engine.name,
}
"""What can be left out of the fit one by one -> which of them a run has."""


@dataclass(frozen=True)
class Verdict:
    """One line of the file that was validated.

    Attributes:
        line, id, hardware: where it stands.
        tok_s: published; 0 where it could not be read.
        predicted, low, high: tokens per second; 0 where there is no prediction.
        basis: `cross-validated` for rows of the evidence, else how far the fit was carried.
        reason: why it was left out or refused, or what to know of the prediction.
        row: as published; None where it could not be read.
    """

    line: int
    id: str
    hardware: str
    tok_s: float = 0.0
    predicted: float = 0.0
    low: float = 0.0
    high: float = 0.0
    basis: str = ""
    reason: str = ""
    row: Published | None = None

    @property
    def is_predicted(self) -> bool:
        return self.predicted > 0

    @property
    def is_left_out(self) -> bool:
        """It says nothing of one decode step, so it counts neither as predicted nor as refused."""
        return self.row is not None and bool(self.row.left_out)

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted / self.tok_s - 1

    @property
    def is_inside(self) -> bool:
        """The published speed lies in the interval."""
        return self.low <= self.tok_s <= self.high


@dataclass(frozen=True)
class Score:
    """What some lines add up to.

    Attributes:
        rows: predicted ones.
        median, tail: of the absolute error, and its 90th percentile; 0 without rows.
        inside: share of the rows whose published speed lies in the 80 % interval.
        refused: lines that could not be read or predicted.
        left_out: lines that say nothing of one decode step.
    """

    rows: int
    median: float
    tail: float
    inside: float
    refused: int
    left_out: int

    @classmethod
    def of(cls, verdicts: Sequence[Verdict]) -> Score:
        """The score of the lines."""
        predicted = [one for one in verdicts if one.is_predicted]
        left_out = sum(one.is_left_out for one in verdicts)
        errors = np.abs([one.error for one in predicted]) if predicted else np.zeros(1)
        return cls(
            len(predicted),
            float(np.median(errors)),
            float(np.percentile(errors, 90)),
            float(np.mean([one.is_inside for one in predicted])) if predicted else 0.0,
            len(verdicts) - len(predicted) - left_out,
            left_out,
        )


def validate(rows: Sequence[Published], bad: Sequence[Refused], seed: int = 0) -> list[Verdict]:
    """A verdict per line, in the file's order.

    A row that the calibration was fitted to is predicted by a fit without its fold (five-fold, whole groups of hardware
    and model held out together); any other row by the calibration itself.

    Args:
        rows: that could be read.
        bad: lines that could not.
        seed: shuffles the groups over the folds.
    """
    verdicts = [Verdict(one.line, one.id, one.hardware, reason=one.reason) for one in bad]
    asked: list[tuple[Published, Situation]] = []
    for row in rows:
        try:
            if row.left_out:
                raise UsageError(row.left_out)
            asked.append((row, situation(row)))
        except UsageError as error:
            verdicts.append(Verdict(row.line, row.id, row.hardware, row.tok_s, reason=str(error), row=row))
    known, fitted = evidence(), calibration()
    places = {_key(row): place for place, row in enumerate(known.rows)}
    new = [(row, run) for row, run in asked if _key(row) not in places]
    old = [(row, run) for row, run in asked if _key(row) in places]
    verdicts += _verdicts(new, speeds(fitted, Runs.of([run for _, run in new])), "")
    if old:
        unseen = cross_validated(seed)
        chosen = np.array([places[_key(row)] for row, _ in old])
        picked = Speeds(unseen.low[chosen], unseen.point[chosen], unseen.high[chosen], unseen.carried[chosen])
        verdicts += _verdicts(old, picked, CROSS_VALIDATED)
    return sorted(verdicts, key=lambda one: one.line)


@cache
def cross_validated(seed: int = 0) -> Speeds:
    """Each row of the evidence as a fit without its fold predicts it."""
    known = evidence()
    unseen = held_out(known.columns, known.time_us, folds([row.group for row in known.rows], seed))
    return with_intervals(calibration().doubt, known.columns, unseen.time_us, unseen.log_variance, unseen.carried)


def left_out(level: str) -> dict[str, list[Verdict]]:
    """Each row of the evidence as a fit without its level predicts it: its machine, its kind of machine or its engine.

    Args:
        level: of `LEVELS`.

    Returns:
        Which of them -> its rows.
    """
    known = evidence()
    names = [LEVELS[level](run) for run in known.runs]
    unseen = held_out(known.columns, known.time_us, one_by_one(names))
    found = with_intervals(calibration().doubt, known.columns, unseen.time_us, unseen.log_variance, unseen.carried)
    verdicts = _verdicts(list(zip(known.rows, known.runs, strict=True)), found, f"without its {level}")
    each: dict[str, list[Verdict]] = {name: [] for name in sorted(set(names), key=str.lower)}
    for name, verdict in zip(names, verdicts, strict=True):
        each[name].append(verdict)
    return each


def _key(row: Published) -> tuple[object, ...]:
    """What makes two rows the same figure, whatever file they stand in and however its notes are worded."""
    return (
        *row.group,
        row.engine,
        row.n_chips,
        row.parallelism,
        row.weight_bits,
        row.context,
        row.source_date,
        row.tok_s,
    )


def _verdicts(asked: Sequence[tuple[Published, Situation]], found: Speeds, basis: str) -> list[Verdict]:
    return [
        Verdict(
            row.line,
            row.id,
            row.hardware,
            row.tok_s,
            float(found.point[i]),
            float(found.low[i]),
            float(found.high[i]),
            basis or CARRIED[found.carried[i]],
            "; ".join(_remarks(run)),
            row,
        )
        for i, (row, run) in enumerate(asked)
    ]


def _remarks(run: Situation) -> list[str]:
    remarks = []
    if run.is_guessed:
        remarks.append(f"guessed: {run.weight_bits:g} bits a weight on {run.chips} chips, as far as not published")
    if run.size != 1.0:
        remarks.append(f"{run.model.name} stands in for a model whose shape is not known")
    capacity_gb = run.device.capacity_gb
    if capacity_gb and run.resident_gb > capacity_gb * run.chips:
        remarks.append(f"does not fit: {run.resident_gb:.0f} GB in {capacity_gb * run.chips:.4g} GB; predicted as if it did")
    return remarks
