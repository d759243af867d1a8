"""`roofcast claims`: what an article states, line by line, against physics and prediction. Imports no JAX."""

from __future__ import annotations

from omegaconf import DictConfig

from ..claims.article import claims
from ..report.answer import SUFFIXES
from ..report.claims import table, write
from ..report.output import checked
from ..report.table import show


def run(config: DictConfig) -> int:
    """Prints the table, and writes it where `output` says. Returns 0."""
    output = checked(config.output, SUFFIXES)
    source, found = claims()
    show(table(source, found))
    if output:
        write(source, found, output)
    return 0
