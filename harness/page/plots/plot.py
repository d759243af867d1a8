"""What a plot is to the page: which rows it draws, what chooses among them, and the same rows as a table."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    import altair as alt

ANY = "any"
"""The choice of a control that leaves its field free."""

Section = Literal["predictions", "kernels", "validation"]


@dataclass(frozen=True)
class Source:
    """Rows that a plot draws.

    Attributes:
        dataset: of `Data.datasets`.
        chosen: field -> control whose choice it must equal; a control that says `ANY` leaves it free.
        needs: fields that must not be empty.
        also: field -> control with a list of values that are kept as well.
    """

    dataset: str
    chosen: Mapping[str, str] = field(default_factory=dict)
    needs: Sequence[str] = ()
    also: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Column:
    """A column of the plot's table, and a line of what is shown of a point.

    Attributes:
        field: of the row.
        name: heading, the unit in brackets.
        ends: fields of the interval, shown in the same cell.
        percent: shown in whole percent.
    """

    field: str
    name: str
    ends: tuple[str, str] | None = None
    percent: bool = False


@dataclass(frozen=True)
class Plot:
    """One plot.

    Attributes:
        name: of its files, and its anchor on the page.
        title: what it shows.
        about: how to read it, in one or two sentences.
        section: of the page.
        sources: name in the chart -> rows; the first are those of the table.
        columns: of the table.
        draw: makes the chart on named data.
        empty: what to say where there are no rows.
        height: pixels of the drawing, or of each line where there is one per value of the fields `per`.
        per: see there.
        most: rows drawn at the most, the last ones.
    """

    name: str
    title: str
    about: str
    section: Section
    sources: Mapping[str, Source]
    columns: Sequence[Column]
    draw: Callable[[], alt.LayerChart | alt.FacetChart]
    empty: str
    height: int
    per: Sequence[str] = ()
    most: int | None = None

    def spec(self) -> dict[str, Any]:
        """The chart in Vega-Lite, without its rows."""
        return self.draw().to_dict()

    def drawn(self, rows: Sequence[Any]) -> Sequence[Any]:
        """The last `most` of some rows; the page's script does the same."""
        return rows[-self.most :] if self.most else rows

    def height_of(self, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> int:
        """Pixels of the drawing; the page's script does the same."""
        if not self.per:
            return self.height
        return self.height * len({tuple(row.get(name) for name in self.per) for some in rows.values() for row in some})


def rows_of(source: Source, datasets: Mapping[str, Sequence[Mapping[str, Any]]], choices: Mapping[str, Any]) -> list[Any]:
    """The rows that a plot draws of a source under some choices; the page's script does the same."""

    def keeps(row: Mapping[str, Any]) -> bool:
        if any(row.get(name) is None for name in source.needs):
            return False
        return all(
            choices[control] in (ANY, row.get(name)) or row.get(name) in choices.get(source.also.get(name, ""), ())
            for name, control in source.chosen.items()
        )

    return [row for row in datasets[source.dataset] if keeps(row)]
