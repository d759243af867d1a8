"""Answers as rows of the page, and as the very words that `roofcast predict` prints."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..calibrate.ranges import Range
from ..predict.answer import Answer
from ..report.answer import in_full
from .kept import Row, falls, plain

FEWEST = "fewest"
"""Choice of the number of devices that is left to the placement."""


def speeds(found: Sequence[Answer]) -> list[Row]:
    """One row per answer on the fewest devices, fastest first: speed, ceiling, energy and cost."""
    rows = [
        {
            **_asked(place, one),
            "kind": one.ask.device.kind,
            "chips": one.chips,
            "placement": one.how,
            **_ends("", one.tokens_per_s),
            "ceiling": plain(one.ceiling_tokens_per_s),
            **_ends("cost", _cost(one)),
            "bound": one.bound,
            "basis": one.basis,
        }
        for place, one in enumerate(found)
        if one.ask.devices is None and not one.refusal
    ]
    return sorted(rows, key=lambda row: -row["point"])


def energies(found: Sequence[Answer]) -> list[Row]:
    """One row per answer on the fewest devices and power basis, least first."""
    rows = [
        {**_asked(place, one), "chips": one.chips, "power": energy.basis, **_ends("", energy.joules_per_token),
         "watts": plain(energy.watts.point), "of": energy.scope, "source": energy.source}
        for place, one in enumerate(found)
        if one.ask.devices is None and not one.refusal
        for energy in one.energy
    ]  # fmt: skip
    return sorted(rows, key=lambda row: row["point"])


def waterfalls(found: Sequence[Answer]) -> list[Row]:
    """Where a token's time goes, of every answer on the fewest devices."""
    return [
        row
        for place, one in enumerate(found)
        if one.ask.devices is None and not one.refusal
        for row in falls(one.parts_us, _asked(place, one))
    ]


@dataclass(frozen=True)
class Words:
    """The printed answer of every cell, small enough to travel.

    Attributes:
        cells: one text per cell, fields parted by bars: place of the refusal after `!`, else places of the figures' names and
            of two sentences, then low, point and high of each figure as printed.
        figures: tuples of names and units.
        texts: sentences.
    """

    cells: list[str]
    figures: list[list[list[str]]]
    texts: list[str]


def words(found: Sequence[Answer]) -> Words:
    """What `roofcast predict` prints of each answer."""
    figures: dict[tuple[tuple[str, str], ...], int] = {}
    texts: dict[str, int] = {}
    cells: list[str] = []
    for one in found:
        if one.refusal:
            cells.append(f"!{texts.setdefault(one.refusal, len(texts))}")
            continue
        table = in_full(one)
        names = tuple((row[0], row[1]) for row in table.rows)
        said = [texts.setdefault(note, len(texts)) for note in table.notes[:2]]
        values = [cell for row in table.rows for cell in row[2:]]
        cells.append("|".join([str(figures.setdefault(names, len(figures))), *map(str, said), *values]))
    return Words(cells, [[list(one) for one in names] for names in figures], list(texts))


def _asked(place: int, one: Answer) -> dict[str, Any]:
    ask = one.ask
    return {
        "from": f"predict:{place}",
        "device": ask.device.name,
        "model": ask.model.name,
        "format": ask.weight,
        "context": ask.context,
    }


def _cost(one: Answer) -> Range:
    """Of a million tokens: in the price's currency, or in device-hours where there is no price."""
    return one.cost_per_million or one.tokens_per_s.under(one.chips / 3600 * 1e6)


def _ends(name: str, given: Range) -> dict[str, float | None]:
    ends = {"low": given.low, "point": given.point, "high": given.high}
    return {f"{name}_{end}".lstrip("_"): plain(value) for end, value in ends.items()}
