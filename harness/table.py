"""`roofcast table`: the tables of what the store holds for a step. Imports no JAX."""

from __future__ import annotations

import sys
from contextlib import suppress
from pathlib import Path

from omegaconf import DictConfig

from ..kernels.registry import op_names
from .errors import UsageError
from .plan import plan
from .recall import latest
from .report.summary import summary
from .report.table import check_output, show, write
from .store import Store


def run(config: DictConfig) -> int:
    """Shows the newest measurements of the step. Returns 1 if some files of the store cannot be read."""
    asked = plan(config)
    if config.output:
        check_output(Path(config.output))
    calls = asked.calls(op_names())
    # Of a model that no step is composed for, the kernels are shown. Which copies of another were measured depends on the
    # memory that was free.
    with suppress(UsageError):
        calls |= asked.steps(range(1, asked.step.model.layers + 1))
    report = latest(Store(config.results), calls)
    if report.complaint:
        print(f"roofcast: {report.complaint}", file=sys.stderr)
    if not report.found:
        formats = asked.step.formats
        wanted = f"{asked.step.model.name} at context {asked.step.context}, {formats.weight} weights and {formats.kv} KV cache"
        raise UsageError(f"results must hold measurements of {wanted}; {config.results!r} has none: run roofcast bench first")
    tables = summary(report.found, asked)
    for table in tables:
        show(table)
    if config.output:
        write(tables, Path(config.output))
    return int(bool(report.complaint))
