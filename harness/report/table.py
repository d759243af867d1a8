"""One table, three renderings: terminal, Markdown, CSV. Rich draws it; this says what is in it."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import IO

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table as RichTable

from ..files.spreadsheet import cell as in_spreadsheet
from ..shown import escaped
from . import terminal
from .output import write_text

PIPE_WIDTH = 200
"""Columns that a table may take where there is no terminal to ask: logs scroll sideways, but not for ever."""
SUFFIXES = (".md", ".csv")


@dataclass(frozen=True)
class Column:
    """A column's heading, its unit, and whether it holds text (left) or figures (right).

    Attributes:
        rank: what a narrow terminal leaves out first: the highest; 0 is never left out.
        bar: whether a terminal draws a bar beside the figure, which is a share in percent.
    """

    name: str
    unit: str = ""
    text: bool = False
    rank: int = 0
    bar: bool = False


@dataclass(frozen=True)
class Table:
    """Cells that are already words: the same in every rendering.

    Attributes:
        title: what the table shows.
        columns: headings.
        rows: one cell per column.
        notes: sentences below it.
    """

    title: str
    columns: Sequence[Column]
    rows: Sequence[Sequence[str]]
    notes: Sequence[str] = field(default_factory=tuple)


def show(table: Table, file: IO[str] | None = None) -> None:
    """Prints to a terminal, no wider than it is; to anything else, as wide as `PIPE_WIDTH`."""
    table = printable(table)
    console = Console(file=file, highlight=False)
    if console.is_terminal:
        _draw(table, console)
        return
    print(f"\n{table.title}\n{_plain(_rich(table, box.SIMPLE_HEAD), PIPE_WIDTH)}", file=file)
    for note in table.notes:
        print(f"  {note}", file=file)


def printable(table: Table) -> Table:
    """The same table with nothing in it that would steer a terminal or end a line."""
    rows = [[escaped(cell) for cell in row] for row in table.rows]
    return replace(table, title=escaped(table.title), rows=rows, notes=[escaped(note) for note in table.notes])


def in_markdown(table: Table) -> Table:
    """The same table with no cell that would end a cell of Markdown."""
    table = printable(table)
    return replace(table, rows=[[cell.replace("|", "\\|") for cell in row] for row in table.rows])


def _draw(table: Table, console: Console) -> None:
    """On a terminal: columns that do not fit are left out by rank, and a table that still does not fit is stacked."""
    width = console.width
    console.print(f"\n{table.title}", style="bold", markup=False)
    table = _with_bars(table)
    places = terminal.kept(table, width)
    room = terminal.widths(table, places, width)
    notes = list(table.notes)
    if room is None:
        console.print("", *terminal.stacked(table, width), sep="\n", markup=False)
    else:
        shown = replace(
            table, columns=[table.columns[at] for at in places], rows=[[row[at] for at in places] for row in table.rows]
        )
        drawn = _rich(shown, box.SIMPLE_HEAD)
        for column, wide in zip(drawn.columns, room, strict=True):
            column.width, column.no_wrap = wide, False
        for column, one in zip(drawn.columns, shown.columns, strict=True):
            # Rich strips blanks behind a bar in a column that stands right: bars would end where they should begin.
            column.justify = "left" if one.text or one.bar else "right"
        console.print(drawn)
        missing = [_heading(column) for at, column in enumerate(table.columns) if at not in places]
        notes += [f"not shown in {width} columns: {', '.join(missing)}"] * bool(missing)
    for note in notes:
        console.print(*(f"  {line}" for line in terminal.wrapped(note, max(width - 2, 1))), sep="\n", markup=False)


def _with_bars(table: Table) -> Table:
    columns = zip(*table.rows, strict=True) if table.rows else ((),) * len(table.columns)
    drawn = [terminal.barred(cells) if one.bar else cells for one, cells in zip(table.columns, columns, strict=True)]
    return replace(table, rows=list(zip(*drawn, strict=True)))


def write(tables: Sequence[Table], path: Path) -> None:
    """Writes tables to `FILE.md`, or to `FILE.csv` with a title line above each.

    Raises:
        UsageError: if the file cannot be written.
    """
    text = "\n".join((markdown if path.suffix == ".md" else _csv)(table) for table in tables)
    write_text(text, path)


def _rich(table: Table, style: box.Box) -> RichTable:
    drawn = RichTable(box=style, header_style="bold", pad_edge=style is box.MARKDOWN)
    has_units = style is not box.MARKDOWN and any(column.unit for column in table.columns)
    for column in table.columns:
        heading = f"{column.name}\n{column.unit}" if has_units else _heading(column)
        drawn.add_column(heading, justify="left" if column.text else "right", no_wrap=not column.text, overflow="fold")
    for row in table.rows:
        drawn.add_row(*map(escape, row))
    return drawn


def markdown(table: Table) -> str:
    """A table as GitHub renders it, under its title."""
    table = in_markdown(table)
    body = "\n".join(line for line in _plain(_rich(table, box.MARKDOWN), 10_000).splitlines() if line)
    notes = "".join(f"\n- {note}" for note in table.notes)
    return f"### {table.title}\n\n{body}\n" + (f"{notes}\n" if notes else "")


def _plain(drawn: RichTable, width: int) -> str:
    text = io.StringIO()
    Console(file=text, width=width, highlight=False, color_system=None).print(drawn)
    return "\n".join(line.rstrip() for line in text.getvalue().splitlines())


def _csv(table: Table) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow([f"# {table.title}"])
    writer.writerow([_heading(column) for column in table.columns])
    for row in table.rows:
        # Thousands separators are for people; whoever reads CSV wants numbers.
        pairs = zip(row, table.columns, strict=True)
        writer.writerow([in_spreadsheet(cell if column.text else cell.replace(",", "")) for cell, column in pairs])
    return text.getvalue()


def _heading(column: Column) -> str:
    return f"{column.name} ({column.unit})" if column.unit else column.name
