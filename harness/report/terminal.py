"""How a table fits a terminal: which columns are shown, how wide, and what becomes of a table that does not fit."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.cells import cell_len

if TYPE_CHECKING:
    from .table import Column, Table

BETWEEN = 3
"""Characters between two columns of `box.SIMPLE_HEAD`."""
BAR_WIDTH = 10
_EIGHTHS = " ▏▎▍▌▋▊▉"
_FOLDED_LINES = 2
_MOST_LINES = 6
"""Of a row: a table whose rows are taller on average is read more easily field by field."""


def barred(percents: Sequence[str]) -> list[str]:
    """Shares in percent, each with its bar."""
    room = max(map(len, percents), default=0)
    return [f"{one.rjust(room)} {bar(one)}" for one in percents]


def bar(percent: str) -> str:
    """A share in percent as a bar, the whole at most; none where the cell is no figure."""
    try:
        share = min(max(float(percent.strip(" %").replace(",", "")) / 100, 0.0), 1.0)
    except ValueError:
        return ""
    whole, rest = divmod(round(share * BAR_WIDTH * 8), 8)
    return "█" * whole + (_EIGHTHS[rest] if rest else "")


def kept(table: Table, width: int) -> list[int]:
    """The columns that fit: where not all do, the least important go first.

    More of them go where that keeps what is never left out from being folded into tall, narrow columns.
    """
    places = list(range(len(table.columns)))
    while not _fits(table, places, width) and (fewer := _without_least(table, places)):
        places = fewer
    roomy = places
    while _is_folded(table, roomy, width):
        if not (fewer := _without_least(table, roomy)):
            return places
        roomy = fewer
    return roomy


def _without_least(table: Table, places: Sequence[int]) -> list[int]:
    """Without the least important column; nothing where all that are left are important."""
    spare = max(places, key=lambda place: (table.columns[place].rank, place))
    return [one for one in places if one != spare] if table.columns[spare].rank else []


def _is_folded(table: Table, places: Sequence[int], width: int) -> bool:
    """Whether columns that are never left out take more than `_FOLDED_LINES` a row on average."""
    found = widths(table, places, width)
    if found is None:
        return False
    kept = [(place, room) for place, room in zip(places, found, strict=True) if not table.columns[place].rank]
    lines = [max((len(wrapped(row[place], room)) for place, room in kept), default=1) for row in table.rows]
    return sum(lines) > _FOLDED_LINES * len(lines)


def widths(table: Table, places: Sequence[int], width: int) -> list[int] | None:
    """Of each of some columns, no word broken; None where that cannot be, or rows would be too tall."""
    if not _fits(table, places, width):
        return None
    natural = [max(map(cell_len, _cells(table, place)), default=0) for place in places]
    found = [_least(table, place) for place in places]
    for _ in range(width - _whole(found)):
        shortest = max(range(len(places)), key=lambda at: natural[at] / max(found[at], 1), default=0)
        if not places or natural[shortest] <= found[shortest]:
            break
        found[shortest] += 1
    lines = [
        max((len(wrapped(row[place], room)) for place, room in zip(places, found, strict=True)), default=1)
        for row in table.rows
    ]
    return found if sum(lines) <= _MOST_LINES * max(len(lines), 1) else None


def stacked(table: Table, width: int) -> list[str]:
    """Each row as lines of field and value."""
    names = [f"{one.name} ({one.unit})" if one.unit else one.name for one in table.columns]
    margin = max(map(cell_len, names), default=0) + 4
    lines = []
    for row in table.rows:
        for name, value in zip(names, row, strict=True):
            first, *rest = wrapped(value, max(width - margin, 1)) or [""]
            lines += [f"  {name.ljust(margin - 4)}  {first}", *(" " * margin + one for one in rest)]
        lines.append("")
    return lines


def wrapped(text: str, width: int) -> list[str]:
    """Lines of a text; a word is broken only where it is wider than a line."""
    return textwrap.wrap(text, width, break_on_hyphens=False) if cell_len(text) > width else [text]


def _fits(table: Table, places: Sequence[int], width: int) -> bool:
    return _whole([_least(table, place) for place in places]) <= width


def _whole(found: Sequence[int]) -> int:
    return sum(found) + BETWEEN * len(found) - 1


def _least(table: Table, place: int) -> int:
    """A text column's widest word, a figure column's widest cell; of the heading the widest word."""
    column = table.columns[place]
    cells = [row[place] for row in table.rows]
    pieces = [word for cell in cells for word in cell.split()] if column.text else cells
    return max(map(cell_len, [*pieces, *column.name.split(), *column.unit.split()]), default=1)


def _cells(table: Table, place: int) -> list[str]:
    column: Column = table.columns[place]
    return [column.name, column.unit, *(row[place] for row in table.rows)]
