"""DuckDB, which reads and writes tables in files; it is imported when first needed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection


@contextmanager
def connection() -> Iterator[DuckDBPyConnection]:
    """A connection to a database in memory, which all of this process share: making one takes as long as a small file."""
    import duckdb

    cursor = _database(os.getpid()).cursor()
    try:
        yield cursor
    except (duckdb.FatalException, duckdb.InternalException):
        # Which a database does not outlive.
        _database.cache_clear()
        raise
    finally:
        cursor.close()


@cache
def _database(process: int) -> Any:
    import duckdb

    # Others write the files that are read here, and their memory is the measurements'.
    return duckdb.connect(config={"enable_external_file_cache": "false"})
