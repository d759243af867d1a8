"""Records, such as measurements, in Parquet files that are only ever added to, in a folder or under an object store's prefix.

Every append is one new file that appears whole or not at all, so any number of processes may write at once without
a lock, and a killed one leaves at most a temporary file that no reader looks at. DuckDB writes and reads the files;
it is imported when first needed, since most of a short command's time is imports.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from ..errors import UsageError
from ..files import database, parquet
from ..files.columns import columns, flatten, unflatten
from ..files.durable import Folder
from ..files.objects import Prefix
from ..files.parquet import Unreadable
from .record import Measurement, Stored

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

T = TypeVar("T")
R = TypeVar("R", bound=Stored)

_FILE = re.compile(r"\d{8}T\d{12}Z-[0-9A-Za-z]+-[0-9a-f]{8}(\.merged)?\.parquet")
"""When it was written, by which run, and eight random digits: unique without asking who else writes."""
_PROBE_BYTES = 2**20
"""More than a run's records take; written and removed again to see that there is space for them."""
_ONCE = "QUALIFY row_number() OVER (PARTITION BY record_id) = 1"
"""What leaves one of the rows of each record."""
_ROW_GROUP = 8192
"""Rows whose least and largest values stand in a file's footer: readers of a few records pass the other groups over."""
_ATTEMPTS = 3
"""Times that a reader starts over because another process merges files under it."""


@dataclass(frozen=True)
class Report(Generic[T]):
    """What a read found, and what it had to leave out.

    Attributes:
        found: measurements or rows.
        unreadable: files that were left out. A caller says so and exits with an error.
    """

    found: list[T]
    unreadable: tuple[Unreadable, ...] = ()

    @property
    def complaint(self) -> str:
        """One sentence that names what was left out, "" where that is nothing."""
        named = "; ".join(f"{one.file} ({one.reason})" for one in self.unreadable)
        return f"results hold what cannot be read and was left out: {named}" if named else ""


@dataclass(frozen=True)
class Records(Generic[R]):
    """Records of one kind in one place. Folders below it are other places.

    Attributes:
        folder: where the files lie, a folder that is made when first written to, or a URL such as `s3://bucket/prefix`.
        kind: of the records.
    """

    folder: Path | str
    kind: type[R]

    def __post_init__(self) -> None:
        if not str(self.folder):
            raise UsageError("results must be a folder, or the URL of one in an object store; got ''")

    @cached_property
    def _place(self) -> Folder | Prefix:
        return Prefix(str(self.folder)) if "://" in str(self.folder) else Folder(Path(self.folder))

    @property
    def is_there(self) -> bool:
        """Whether there may be something to read: a folder that nobody made yet has nothing; an object store is asked."""
        return "://" in str(self.folder) or Path(self.folder).is_dir()

    def append(self, records: Sequence[R]) -> Path | None:
        """Adds records as one new file and returns it once it is on the disk; None where there are no records.

        Raises:
            UsageError: if the folder cannot be written to or is full; nothing is left behind.
        """
        if not records:
            return None
        # Python writes infinity as no JSON may, and DuckDB reads it.
        rows = json.dumps([flatten(record) for record in records])
        structure = parquet.literal(json.dumps([columns(self.kind)]))
        query = f"SELECT unnest(from_json_strict($rows::JSON, {structure}), max_depth := 2)"
        run = re.sub(r"[^0-9A-Za-z]", "", records[0].run.run_id)[:12] or "run"
        return self._write(f"{run}-{secrets.token_hex(4)}.parquet", query, {"rows": rows})

    def read(self, where: str = "TRUE", parameters: Sequence[Any] = ()) -> Report[R]:
        """The records for which a SQL condition on the columns of a record holds, oldest first.

        Args:
            where: such as `op = 'gemv' AND status = ?`.
            parameters: for the question marks in it.

        Raises:
            UsageError: if the folder cannot be read, or the condition does not make sense.
        """
        # The line break ends a comment that the condition may end in.
        report = self._ask(f"SELECT * FROM records WHERE {where}\nORDER BY started_at, record_id", parameters, shown=where)
        found, unreadable = [], list(report.unreadable)
        for row in report.found:
            try:
                found.append(unflatten(self.kind, row))
            except ValueError as error:
                unreadable.append(Unreadable(Path(row["filename"]).name, f"record {row['record_id']}: {error}"))
        return Report(found, tuple(unreadable))

    def query(self, sql: str, parameters: Sequence[Any] = ()) -> Report[dict[str, Any]]:
        """The rows that SQL makes of `records`, whose columns are the kind's and `filename`.

        Only columns that are named are read, so this is far cheaper than `read` for figures over many records.

        Raises:
            UsageError: if the folder cannot be read, or the SQL does not make sense.
        """
        return self._ask(sql, parameters, shown=sql)

    def check_writable(self) -> None:
        """Writes and removes a file of a run's size, so that nobody measures for minutes and then cannot keep it.

        Raises:
            UsageError: if the folder cannot be made or written to, or its disk is full.
        """
        with self._writing():
            self._place.probe(_PROBE_BYTES)

    def compact(self, at_least: int = 2) -> Path | None:
        """Merges the files of single runs into one, so that thousands of runs are quick to query.

        May run while others read and append. A crash after the merged file is there and before the files it was made
        of are gone leaves records twice, never not at all; readers count each `record_id` once.

        Args:
            at_least: files that make it worth the while.

        Returns:
            The merged file; None where there are too few to merge, or somebody else is merging them. Unreadable files
            are left alone.

        Raises:
            UsageError: if the folder cannot be read or written to.
        """
        with self._writing():
            self._place.remove_stale()
        files = self._files()
        if sum(not _is_merged(file) for file in files) < at_least:
            return None
        # Two at once would lose nothing, but leave every record twice.
        with self._writing(), self._place.sole(".merging.tmp") as is_sole:
            return self._merge(files) if is_sole else None

    def _merge(self, files: Sequence[Path]) -> Path | None:
        sound, _ = parquet.split(files)
        bad = {one.file for one in parquet.damaged(sound)}
        sources = [file for file in sound if file.name not in bad]
        # What was merged before stays as it is, unless another merge was cut off and records are there twice.
        with database.connection() as connection:
            again = bool(sources) and _has_twins(connection, sources)
        sources = [file for file in sources if again or not _is_merged(file)]
        if len(sources) < 2:
            return None
        query = f"SELECT * FROM {parquet.table(sources)} {_ONCE} ORDER BY started_at"
        merged = self._write(f"all-{secrets.token_hex(4)}.merged.parquet", query, {})
        self._place.remove(sources)
        return merged

    def _files(self) -> list[Path]:
        try:
            return self._place.files(_FILE.fullmatch)
        except OSError as error:
            raise UsageError(f"results must be a folder of measurements; got {str(self.folder)!r}: {_said(error)}") from None

    def _ask(self, sql: str, parameters: Sequence[Any], shown: str) -> Report[dict[str, Any]]:
        """See `query`; `shown` is the part of the SQL that the caller wrote."""
        report: Report[dict[str, Any]] = Report([])
        for _ in range(_ATTEMPTS):
            files = self._files()
            report = _query(files, columns(self.kind), sql, parameters, shown)
            if _holds_still(files, self._files()):
                break
        return report

    def _write(self, name: str, query: str, parameters: dict[str, Any]) -> Path:
        """The rows of a query as a new file, on the disk under its name."""
        import duckdb

        name = f"{datetime.now(UTC):%Y%m%dT%H%M%S%fZ}-{name}"
        with self._writing(), self._place.new_file(name) as path, database.connection() as connection:
            options = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {_ROW_GROUP}, USE_TMP_FILE false"
            try:
                connection.execute(f"COPY ({query}) TO {parquet.literal(str(path))} ({options})", parameters)
            except duckdb.IOException as error:
                raise OSError(0, _systems_words(str(error))) from None
        return self._place.path / name

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Makes the system's refusal to write a sentence to the user."""
        try:
            yield
        except OSError as error:
            wanted = "a folder that can be written to, with space for the measurements"
            raise UsageError(f"results must be {wanted}; got {str(self.folder)!r}: {_said(error)}") from None


@dataclass(frozen=True)
class Store(Records[Measurement]):
    """Measurements in one place."""

    kind: type[Measurement] = Measurement


def _said(error: OSError) -> str:
    return error.strerror or str(error)


def _systems_words(text: str) -> str:
    """The system's own words for an error, out of what DuckDB wraps them in, which differs from version to version."""
    found = (words for words in map(os.strerror, errno.errorcode) if words in text)
    return max(found, key=len, default=text.splitlines()[0])


def _query(
    files: Sequence[Path], schema: Mapping[str, str], sql: str, parameters: Sequence[Any], shown: str
) -> Report[dict[str, Any]]:
    import duckdb

    sound, unreadable = parquet.split(files)
    try:
        return Report(_rows(sound, schema, sql, parameters), tuple(unreadable))
    except duckdb.Error as error:
        try:
            # What makes no sense of no records either is the question's own fault.
            _rows([], schema, sql, parameters)
            damaged = list(parquet.damaged(sound))
        except duckdb.Error:
            damaged = []
        if not damaged:
            said = str(error).splitlines()[0]
            raise UsageError(f"a question to the store must be SQL on the columns of a record; got {shown!r}: {said}") from None
    bad = {one.file for one in damaged}
    rest = _query([file for file in sound if file.name not in bad], schema, sql, parameters, shown)
    return Report(rest.found, (*unreadable, *damaged, *rest.unreadable))


def _rows(files: Sequence[Path], schema: Mapping[str, str], sql: str, parameters: Sequence[Any]) -> list[dict[str, Any]]:
    with database.connection() as connection:
        # A view would open every file once when it is made and once more when it is read.
        records = f"WITH records AS NOT MATERIALIZED ({_records(connection, files, schema)})"
        question = re.sub(r"^\s*WITH\b", ",", sql, count=1, flags=re.IGNORECASE)
        cursor = connection.execute(f"{records} {question}", parameters)
        names = [column[0] for column in cursor.description or ()]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _records(connection: DuckDBPyConnection, files: Sequence[Path], schema: Mapping[str, str]) -> str:
    """All records with all columns of this version's schema, whatever versions wrote the files."""
    typed = ", ".join(f"NULL::{kind} AS {name}" for name, kind in {**schema, "filename": "VARCHAR"}.items())
    nothing = f"SELECT {typed} LIMIT 0"
    if not files:
        return nothing
    every = f"({nothing}) UNION ALL BY NAME SELECT * FROM {parquet.table(files, with_filename=True)}"
    if any(map(_is_merged, files)) and _has_twins(connection, files):
        return f"SELECT * FROM ({every}) {_ONCE}"
    return every


def _has_twins(connection: DuckDBPyConnection, files: Sequence[Path]) -> bool:
    row = connection.execute(f"SELECT count(*) > count(DISTINCT record_id) FROM {parquet.table(files)}").fetchone()
    return row is not None and bool(row[0])


def _is_merged(file: Path) -> bool:
    return file.name.endswith(".merged.parquet")


def _holds_still(before: Sequence[Path], after: Sequence[Path]) -> bool:
    """Nobody merged files in between: none is gone, and no merged one is new."""
    return set(before) <= set(after) and not any(_is_merged(file) for file in set(after) - set(before))
