"""`roofcast validate`: predictions beside published speeds, kernels or whole steps. Measures nothing, imports no JAX."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path

from omegaconf import DictConfig

from ... import conf
from ..calibrate.decode import EVIDENCE
from ..calibrate.kernels import rows as kernel_rows
from ..calibrate.published import Published, read
from ..errors import UsageError, chosen
from ..host.host import fingerprint
from ..importing import shelf
from ..report import kernels as kernel_report
from ..report import steps as step_report
from ..report.output import checked
from ..report.table import show
from ..report.validation import ROWS, ROWS_SUFFIXES, left_out_table, table, write_rows
from ..shown import warn
from ..store.recall import own
from ..store.store import Store
from ..validation.kernels import validate as validate_kernels
from ..validation.published import LEVELS, Score, left_out, validate
from ..validation.steps import verdicts

_OWN, _IMPORTED, _UNSEEN = "own", "imported", "unseen"


def run(config: DictConfig) -> int:
    """Validates a file of published speeds or of measured kernels, the project's own evidence where none is named. Returns 0.

    With `steps` it is the whole steps in the store instead, against the fits of this machine's kernels. A line that cannot
    be read or predicted is refused with its reason, and the others are done.
    """
    if config.seed < 0:
        raise UsageError(f"seed must be a whole number from 0; got {config.seed}")
    if config.published and config.kernels:
        raise UsageError(f"published and kernels must not both be given; got {config.published!r} and {config.kernels!r}")
    if config.steps and (config.published or config.kernels or config.leave_one_out):
        raise UsageError(f"steps must be given without published, kernels and leave_one_out; got {config.steps!r}")
    if config.leave_one_out and (config.kernels or config.published not in (None, _OWN)):
        raise UsageError(
            "leave_one_out must be false where a file is validated: it leaves parts of the project's own evidence out"
        )
    rows = checked(config.rows, ROWS_SUFFIXES, ROWS)
    if config.leave_one_out:
        return _left_out(rows)
    if config.steps:
        return _steps(config, rows)
    return _kernels(config, rows) if config.kernels else _published(config, rows)


def _published(config: DictConfig, written: Path | None) -> int:
    rows: Sequence[Published]
    if config.published == _IMPORTED:
        rows, bad = shelf.rows(Path(config.results)), []
    elif config.published not in (None, _OWN):
        rows, bad = read(Path(config.published).expanduser())
    else:
        with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
            rows, bad = read(file)
    if not rows and not bad:
        raise UsageError(f"published must hold at least one row; got {config.published!r}, which has none")
    verdicts = validate(rows, bad, config.seed)
    show(table(verdicts, f"Published decode speeds against predicted ones: {config.published or EVIDENCE}"))
    if written:
        write_rows(verdicts, written)
        score = Score.of(verdicts)
        print(f"  {score.rows} predictions and {score.refused + score.left_out} reasons in {written}")
    return 0


def _left_out(written: Path | None) -> int:
    verdicts = []
    for level in LEVELS:
        each = left_out(level)
        show(left_out_table(level, each))
        verdicts += [verdict for of_one in each.values() for verdict in of_one]
    if written:
        write_rows(verdicts, written)
        print(f"  {len(verdicts)} predictions in {written}")
    return 0


def _kernels(config: DictConfig, written: Path | None) -> int:
    if config.kernels == _OWN:
        rows, bad = kernel_rows.evidence(), []
    else:
        rows, bad = kernel_rows.read(Path(config.kernels).expanduser())
    if not len(rows) and not bad:
        raise UsageError(f"kernels must hold at least one row; got {config.kernels!r}, which has none")
    verdicts = validate_kernels(rows, bad)
    named = kernel_rows.EVIDENCE if config.kernels == _OWN else config.kernels
    show(kernel_report.table(verdicts, f"Measured kernels against predicted ones: {named}"))
    if written:
        kernel_report.write_rows(verdicts, written)
        print(f"  {len(verdicts.basis)} predictions and {len(verdicts.refused)} reasons in {written}")
    return 0


def _steps(config: DictConfig, written: Path | None) -> int:
    leave_out = chosen("steps", config.steps, (_OWN, _UNSEEN)) == _UNSEEN
    report = own(Store(config.results), fingerprint().machine_key)
    if report.complaint:
        warn(report.complaint)
    found = verdicts(report.found, leave_out=leave_out)
    show(step_report.table(found, leave_out=leave_out))
    if written:
        step_report.write_rows(found, written)
        print(f"  {len(found)} steps in {written}")
    return int(bool(report.complaint))
