"""`roofcast claims`: what an article states, line by line, against physics and prediction. Imports no JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from omegaconf import DictConfig

from . import claiming
from .catalogue import read_yaml
from .claiming import chips, cost, named, size, speed
from .claiming.finding import Finding
from .report.answer import SUFFIXES
from .report.claims import table, write
from .report.output import checked
from .report.table import show

_CHECKS: Mapping[str, Callable[[Mapping[str, Any]], Finding]] = {
    check.__name__: check
    for check in (
        chips.transistors,
        chips.wafer,
        chips.memory,
        speed.speed_on_wafer,
        speed.speed_on_node,
        speed.first_token,
        chips.system_power,
        size.capacity,
        speed.streaming,
        size.wafers_needed,
        size.parallelism,
        named.systems,
        named.users,
        cost.cost,
    )
}


@dataclass(frozen=True)
class Claim:
    """One line of the article.

    Attributes:
        id: its number.
        claim, stated: what it is about, and its own words.
        finding: what became of it.
    """

    id: int
    claim: str
    stated: str
    finding: Finding


def run(config: DictConfig) -> int:
    """Prints the table, and writes it where `output` says. Returns 0."""
    output = checked(config.output, SUFFIXES)
    source, found = claims()
    show(table(source, found))
    if output:
        write(source, found, output)
    return 0


def claims() -> tuple[str, list[Claim]]:
    """The article, and each of its claims with what became of it."""
    given = read_yaml(files(claiming) / "article.yaml")
    return given["source"], [
        Claim(one["id"], one["claim"], one["stated"], _CHECKS[one["check"]](one["given"])) for one in given["claims"]
    ]
