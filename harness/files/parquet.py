"""Parquet files as DuckDB takes them, and which of them cannot be read."""

from __future__ import annotations

import glob
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .database import connection
from .durable import new_file
from .spreadsheet import column

_MAGIC = b"PAR1"
"""First and last four bytes of every Parquet file; before the last stands the length of the footer."""


@dataclass(frozen=True)
class Unreadable:
    """A file that could not be read, by its name, and why."""

    file: str
    reason: str


def literal(value: str) -> str:
    """Text as SQL writes it."""
    return "'" + value.replace("'", "''") + "'"


def table(files: Sequence[Path], *, with_filename: bool = False) -> str:
    """The SQL expression for all rows of some files; columns that a file lacks are null."""
    names = ", ".join(literal(glob.escape(str(file))) for file in files)
    # A folder called "a=b" would otherwise add a column a.
    options = f"union_by_name = true, hive_partitioning = false, filename = {str(with_filename).lower()}"
    return f"read_parquet([{names}], {options})"


def write_rows(rows: Sequence[Mapping[str, Any]], schema: Mapping[str, str], file: Path, form: str = "parquet") -> None:
    """Writes rows of some columns, SQL type by name, as a file of a form that DuckDB knows (`parquet`, `csv`)."""
    structure = literal(json.dumps([dict(schema)]))
    rows_of = f"SELECT unnest(from_json_strict($rows::JSON, {structure}), max_depth := 2)"
    if form == "csv":
        shown = ", ".join(f"{column(name)} AS {name}" if kind == "VARCHAR" else name for name, kind in schema.items())
        rows_of = f"SELECT {shown} FROM ({rows_of})"
    with new_file(file) as path, connection() as opened:
        target = f"{literal(str(path))} (FORMAT {form}{', HEADER' if form == 'csv' else ''}, USE_TMP_FILE false)"
        opened.execute(f"COPY ({rows_of}) TO {target}", {"rows": json.dumps(list(rows))})


def split(files: Sequence[Path]) -> tuple[list[Path], list[Unreadable]]:
    """Files that begin and end as Parquet does, and the others. Costs two small reads per file."""
    flaws = {file: _flaw(file) for file in files}
    return [file for file, flaw in flaws.items() if not flaw], [
        Unreadable(file.name, flaw) for file, flaw in flaws.items() if flaw
    ]


def damaged(files: Sequence[Path]) -> Iterator[Unreadable]:
    """Of files that look sound, those that cannot be read to their end. Reads everything, and halves where that fails."""
    import duckdb

    if not files:
        return
    try:
        with connection() as opened:
            # Naming record_id finds files that are sound but not ours.
            opened.execute(f"SELECT max(hash(one)), max(record_id) FROM {table(files)} AS one").fetchall()
    except duckdb.Error as error:
        if len(files) == 1:
            yield Unreadable(files[0].name, str(error).splitlines()[0])
            return
        middle = len(files) // 2
        yield from damaged(files[:middle])
        yield from damaged(files[middle:])


def _flaw(file: Path) -> str:
    try:
        with file.open("rb") as opened:
            head = opened.read(4)
            size = opened.seek(0, os.SEEK_END)
            opened.seek(max(0, size - 8))
            tail = opened.read(8)
    except OSError as error:
        return error.strerror or "cannot be opened"
    if size == 0:
        return "empty"
    if head != _MAGIC:
        return "not a Parquet file"
    if tail[4:] != _MAGIC or int.from_bytes(tail[:4], "little") > size - 12:
        return "cut short"
    return ""
