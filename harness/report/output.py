"""Files that a verb is asked to write: checked before any work, then written whole or not at all, for every verb alike."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import UsageError
from ..files.durable import new_file, temporary_file
from ..files.spreadsheet import cell

OUTPUT = "output"


def checked(given: str | None, suffixes: Sequence[str], field: str = OUTPUT) -> Path | None:
    """The file that a key names, `~` being the user's home, once it is known that it can be written; None for none.

    Args:
        given: as it was typed.
        suffixes: endings that are known.
        field: the key, for the sentence.

    Raises:
        UsageError: if the ending is another, or the file cannot be written; names the field and the value.
    """
    if not given:
        return None
    path = Path(given).expanduser()
    if path.suffix not in suffixes:
        *most, last = suffixes
        known = f"{', '.join(most)} or {last}" if most else last
        raise UsageError(f"{field} must be a file ending in {known}; got {given!r}")
    if path.exists() and not path.is_file():
        what = "it is a folder" if path.is_dir() else "it is no plain file"
        raise UsageError(f"{field} must be a file that can be written; got {given!r}: {what}")
    with _as_usage(field, path), temporary_file(path.parent) as trial:
        trial.touch()
    return path


@contextmanager
def written(path: Path, field: str = OUTPUT) -> Iterator[Path]:
    """A path to write to, which on leaving without an error is on the disk under the file's name.

    Raises:
        UsageError: if it cannot be written; nothing is left behind.
    """
    with _as_usage(field, path), new_file(path) as part:
        yield part


def write_text(text: str, path: Path, field: str = OUTPUT) -> None:
    """Writes a file whole or not at all.

    Raises:
        UsageError: if it cannot be written.
    """
    with written(path, field) as part:
        part.write_text(text, encoding="utf-8", errors="backslashreplace", newline="")


def as_csv(rows: Iterable[Mapping[str, Any]], names: Sequence[str]) -> str:
    """Rows of named columns under their headings; a column that a row lacks is empty in it."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: cell(value) for name, value in row.items()} for row in rows)
    return text.getvalue()


@contextmanager
def _as_usage(field: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise UsageError(f"{field} must be a file that can be written; got {str(path)!r}: {error.strerror}") from None
