"""`roofcast validate`: predictions beside published figures. Measures nothing, imports no JAX."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from omegaconf import DictConfig

from .. import conf
from .calibrate.decode import EVIDENCE
from .calibrate.published import read
from .errors import UsageError
from .report.table import show
from .report.validation import check_rows, table, write_rows
from .validation import Score, validate


def run(config: DictConfig) -> int:
    """Validates a file of published speeds, the project's own evidence where none is named. Returns 0.

    A line that cannot be read or predicted is refused with its reason, and the others are done.
    """
    if config.seed < 0:
        raise UsageError(f"seed must be a whole number from 0; got {config.seed}")
    if config.rows:
        check_rows(Path(config.rows).expanduser())
    if config.published:
        rows, bad = read(Path(config.published).expanduser())
    else:
        with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
            rows, bad = read(file)
    if not rows and not bad:
        raise UsageError(f"published must hold at least one row; got {config.published!r}, which has none")
    verdicts = validate(rows, bad, config.seed)
    show(table(verdicts, f"Published decode speeds against predicted ones: {config.published or EVIDENCE}"))
    if config.rows:
        write_rows(verdicts, Path(config.rows).expanduser())
        score = Score.of(verdicts)
        print(f"  {score.rows} predictions and {score.refused + score.left_out} reasons in {config.rows}")
    return 0
