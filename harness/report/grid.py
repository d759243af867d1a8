"""A grid on paper: CSV and JSON with every figure for programs, Markdown and LaTeX with the main ones for people."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO, Any

import numpy as np

from ..facts.catalogue import facts
from ..facts.envelope import Envelope
from ..files.spreadsheet import column as in_spreadsheet
from ..predict.grid import Grid
from ..words import figure
from . import table as drawn
from .answer import interval_note
from .output import write_text, written
from .table import Column, Table

SUFFIXES = (".md", ".csv", ".json", ".tex")
SHOWN = 200
"""Rows that a terminal is given at the most."""

_COLUMNS = {
    "model": Column("model", text=True),
    "machine": Column("machine", text=True),
    "weight_format": Column("format", text=True),
    "context": Column("context", "tokens"),
    "memory_gb": Column("memory", "GB each", rank=8),
    "tokens_per_s_low": Column("low", "tok/s"),
    "tokens_per_s": Column("point", "tok/s"),
    "tokens_per_s_high": Column("high", "tok/s"),
    "tpot_ms": Column("TPOT", "ms", rank=4),
    "ttft_ms": Column("TTFT", "ms", rank=2),
    "power_typical_w": Column("typical", "W", rank=7),
    "joules_per_token_typical": Column("typical", "J/token", rank=5),
    "power_peak_w": Column("peak", "W", rank=9),
    "joules_per_token_peak": Column("peak", "J/token", rank=6),
    "cost_per_million_tokens": Column("cost", "per million"),
    "bound": Column("bound", text=True, rank=1),
    "basis": Column("basis", text=True, rank=3),
}


def show(grid: Grid, form: str, file: IO[str]) -> None:
    """Prints the grid: as a table where it is short, or whole in the form of one of the files."""
    if form != "table":
        with TemporaryDirectory() as folder:
            path = Path(folder) / f"grid.{form}"
            write(grid, path)
            file.write(path.read_text(encoding="utf-8"))
        return
    drawn.show(_table(grid, SHOWN), file)


def write(grid: Grid, path: Path) -> None:
    """Every cell to `FILE.csv` or `FILE.json`, those that have figures to `FILE.md` or `FILE.tex`.

    Raises:
        UsageError: if the file cannot be written.
    """
    if path.suffix in (".csv", ".json"):
        with written(path) as part:
            _copy(_sourced(grid), part, path.suffix)
    else:
        write_text(_typeset(_table(grid), "pipe" if path.suffix == ".md" else "latex_longtable"), path)


def _copy(columns: Mapping[str, np.ndarray], path: Path, suffix: str) -> None:
    # Only whoever writes such a file waits for DuckDB.
    import duckdb

    form = "FORMAT csv, HEADER" if suffix == ".csv" else "FORMAT json, ARRAY true"
    wanted = ", ".join(
        f"nullif({name}, 'nan'::DOUBLE) AS {name}" if values.dtype == float
        else f"{in_spreadsheet(name)} AS {name}" if values.dtype == object and suffix == ".csv"
        else name
        for name, values in columns.items()
    )  # fmt: skip
    with duckdb.connect(config={"threads": 1}) as connection:
        connection.register("grid", dict(columns))
        connection.execute(f"COPY (SELECT {wanted} FROM grid) TO '{str(path).replace(chr(39), chr(39) * 2)}' ({form})")


def _sourced(grid: Grid) -> Mapping[str, np.ndarray]:
    models = np.array([_model_source(model.name) for model in grid.axes.models], dtype=object)
    devices = np.array([_device_source(device) for device in grid.axes.devices], dtype=object)
    return {**grid.columns(), "model_source": models[grid.model], "device_source": devices[grid.device]}


def _model_source(name: str) -> str:
    given = facts("model", name)
    return f"{given['source']} ({given['confidence']})" if given["confidence"] != "found" else str(given["source"])


def _device_source(device: Envelope) -> str:
    main = f"memories.{device.weights_in}"
    wanted = (f"{main}.bandwidth_gbs", f"{main}.capacity_gb")
    return "; ".join(f"{name} {one.value:g}: {one.basis}, {one.source}" for name, one in device.quantities() if name in wanted)


def _table(grid: Grid, most: int = sys.maxsize) -> Table:
    columns = grid.columns()
    machines = np.array([f"{n}x {name}" for n, name in zip(columns["devices"], columns["device"], strict=True)], dtype=object)
    columns = {**columns, "machine": machines}
    names = [name for name in _COLUMNS if name in columns]
    rows = grid.rows[:most]
    cells = [[_cell(value) for value in columns[name][rows]] for name in names]
    return Table(
        f"Calibrated predictions at batch 1: {len(grid):,} cells",
        [_COLUMNS[name] for name in names],
        list(zip(*cells, strict=True)),
        list(_notes(grid, most)),
    )


def _notes(grid: Grid, most: int) -> Iterator[str]:
    if len(grid.rows) > most:
        yield f"{most} of {len(grid.rows):,} rows; output=FILE.csv has all of them, model=, device=, format= and context= fewer"
    refused = np.setdiff1d(np.arange(len(grid)), grid.rows)
    if len(refused):
        by = dict.fromkeys(grid.axes.devices[place].name for place in grid.device[refused])
        yield f"{len(refused):,} cells are refused, on {', '.join(by)}; output=FILE.csv and FILE.json say why"
    axes = grid.axes
    if len(grid.rows) <= most:
        yield from (f"{device.name}: {_device_source(device)}" for device in axes.devices)
        yield from (f"{model.name}: {_model_source(model.name)}" for model in axes.models)
    yield f"time to the first token for a prompt of {axes.prompt}; typical and peak power are two bases, not to be mixed"
    yield interval_note()


def _cell(value: Any) -> str:
    if isinstance(value, str):
        return value
    return "-" if np.isnan(value) else str(value) if isinstance(value, np.integer) else figure(float(value))


def _typeset(table: Table, form: str) -> str:
    from tabulate import tabulate

    table = drawn.in_markdown(table) if form == "pipe" else drawn.printable(table)

    headings = [f"{column.name} ({column.unit})" if column.unit else column.name for column in table.columns]
    sides = ["left" if column.text else "right" for column in table.columns]
    body = tabulate(table.rows, headings, tablefmt=form, colalign=sides, disable_numparse=True)
    notes = "".join(f"{_PREFIX[form]}{note}\n" for note in table.notes)
    return f"{_TITLE[form].format(table.title)}\n{body}\n\n{notes}"


_TITLE = {"pipe": "### {}\n", "latex_longtable": "% {}; needs \\usepackage{{longtable}}"}
_PREFIX = {"pipe": "- ", "latex_longtable": "% "}
"""What a note begins with; in LaTeX it is a comment, for a caption could not hold the sources of a grid."""
