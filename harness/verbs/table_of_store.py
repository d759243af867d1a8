"""The tables of what the store holds for a step. Imports no JAX."""

from __future__ import annotations

from contextlib import suppress

from omegaconf import DictConfig

from ...kernels.registry import op_names
from ..errors import UsageError
from ..report.output import checked
from ..report.summary import summary
from ..report.table import SUFFIXES, show, write
from ..shown import warn
from ..steps.plan import plan
from ..store.recall import latest
from ..store.store import Store

_OF_GRIDS = {"engine": None, "prompt": None, "parallel": "auto", "price": None, "print": "table"}
"""Keys that only a grid has, and what they are where nobody sets them."""


def run(config: DictConfig) -> int:
    """Shows the newest measurements of the step. Returns 1 if some files of the store cannot be read."""
    for name, default in _OF_GRIDS.items():
        if config[name] != default:
            raise UsageError(f"{name} needs grid=true, for measurements have none; got {config[name]!r}")
    asked = plan(config)
    output = checked(config.output, SUFFIXES)
    calls = asked.calls(op_names())
    # Of a model that no step is composed for, the kernels are shown. Which copies of another were measured depends on the
    # memory that was free.
    with suppress(UsageError):
        calls |= asked.steps(range(1, asked.step.model.layers + 1))
    report = latest(Store(config.results), calls)
    if report.complaint:
        warn(report.complaint)
    if not report.found:
        formats = asked.step.formats
        wanted = f"{asked.step.model.name} at context {asked.step.context}, {formats.weight} weights and {formats.kv} KV cache"
        raise UsageError(f"results must hold measurements of {wanted}; {config.results!r} has none: run roofcast bench first")
    tables = summary(report.found, asked)
    for table in tables:
        show(table)
    if output:
        write(tables, output)
    return int(bool(report.complaint))
