"""What an article states, line by line, each with the check that it is put to."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from ..facts.catalogue import read_yaml
from . import chips, cost, named, size, speed
from .finding import Finding

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


def claims() -> tuple[str, list[Claim]]:
    """The article, and each of its claims with what became of it."""
    given = read_yaml(files(__package__ or "") / "article.yaml")
    return given["source"], [
        Claim(one["id"], one["claim"], one["stated"], _CHECKS[one["check"]](one["given"])) for one in given["claims"]
    ]
