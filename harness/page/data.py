"""All that the page shows, gathered from the store and the calibration: pure data, no plots yet."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..claims.article import Claim, claims
from ..store.store import Report, Store
from . import foretold, kept, known
from .caches import caches
from .foretold import FEWEST, Words
from .grid import Grid, rows
from .kept import Row

_HELD_BACK = ("roofs", "newest_in_step")
"""Fields of a measurement that become rows of their own."""


@dataclass(frozen=True)
class Data:
    """What there is to show.

    Attributes:
        datasets: name -> rows; every row says under `from` where its figures come from.
        words: the printed answer of every cell of the grid.
        axes: of the grid, names in the order of the cells.
        compare: machines that are drawn over the context beside the chosen one.
        prompt, price: of the grid.
        machines, shapes: sources of the figures of machines and the shapes of models.
        article, claims: an article and what becomes of its claims.
        unreadable: files of the store that were left out, in one sentence.
    """

    datasets: Mapping[str, Sequence[Row]]
    words: Words
    axes: Mapping[str, Sequence[str | int]]
    compare: Sequence[str]
    prompt: int
    price: float | None
    machines: Mapping[str, Any]
    shapes: Mapping[str, str]
    article: str
    claims: Sequence[Claim]
    unreadable: str

    @property
    def measured(self) -> int:
        """Measurements of this store."""
        return sum(str(one["from"]).startswith("record:") for one in self.datasets["kernels"])


def gather(store: Store, grid: Grid, compare: Sequence[str]) -> Data:
    """Reads the store and answers every cell of the grid.

    Raises:
        UsageError: if the folder of the store cannot be read.
    """
    report: Report[Row] = kept.kept(store)
    answers = rows(grid.cells())
    others, other_roofs = known.other_kernels()
    published = known.published()
    working_sets, level_ends = caches(store)
    article, found = claims()
    datasets: dict[str, Sequence[Row]] = {
        "kernels": [*({k: v for k, v in one.items() if k not in _HELD_BACK} for one in report.found), *others],
        "roofs": [*kept.roofs(report.found), *other_roofs],
        "speeds": foretold.speeds(answers),
        "energies": foretold.energies(answers),
        "falls": foretold.waterfalls(answers),
        "measured": kept.measured_steps(report.found),
        "working_sets": working_sets,
        "level_ends": level_ends,
        "published": published,
        "coverage": known.coverage(published),
    }
    axes = {
        "model": [one.name for one in grid.models],
        "device": [one.name for one in grid.machines],
        "format": list(grid.formats),
        "context": list(grid.contexts),
        "devices": [FEWEST if one is None else one for one in grid.devices],
    }
    return Data(
        datasets,
        foretold.words(answers),
        axes,
        compare,
        grid.prompt,
        grid.price,
        known.machines(grid.machines),
        known.shapes(grid.models),
        article,
        found,
        report.complaint,
    )
