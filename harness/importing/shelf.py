"""Where imported speeds are kept: `results/imported/`, one CSV per file that was imported, named after its content.

The columns are those of a file of published speeds, and where each row comes from. A file that is imported again replaces what
it left, and appears whole or not at all. The same measurement in two files counts once, as it was imported last.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..calibrate.published import COLUMNS, Published, read
from ..errors import UsageError
from ..files.durable import new_file
from .rows import Outcome

FOLDER = "imported"
_FIELDS: tuple[str, ...] = (*COLUMNS, "tool", "place", "source", "source_sha256", "imported_at")
_NAME_DIGITS = 16


def keep(found: Sequence[Outcome], results: Path, *, source: str, sha256: str, imported_at: str) -> Path:
    """Writes the rows of a file's outcomes and returns where.

    Args:
        found: outcomes, of which those with rows are kept.
        results: the folder of results.
        source: the file's name.
        sha256: of its content.
        imported_at: ISO 8601 time in UTC.

    Raises:
        UsageError: if the folder cannot be written to.
    """
    path = results / FOLDER / f"{sha256[:_NAME_DIGITS]}.csv"
    origin = {"source": source, "source_sha256": sha256, "imported_at": imported_at}
    lines = [asdict(one.row) | origin | {"tool": one.tool, "place": one.place} for one in found if one.row]
    try:
        with new_file(path) as part, open(part, "w", encoding="utf-8", newline="") as file:
            writer = csv.DictWriter(file, _FIELDS, extrasaction="ignore", lineterminator="\n")
            writer.writeheader()
            writer.writerows(lines)
    except OSError as error:
        raise UsageError(f"results must be a folder that can be written to; got {str(results)!r}: {error.strerror}") from None
    return path


def rows(results: Path) -> tuple[Published, ...]:
    """All imported rows, each measurement once; none where nothing was imported.

    Raises:
        UsageError: if a file there cannot be read, or has a line that is no row.
    """
    found: dict[str, Published] = {}
    for path in sorted((results / FOLDER).glob("*.csv"), key=_imported_at):
        good, bad = read(path)
        if bad:
            raise UsageError(f"{path} must hold imported rows only: {bad[0].reason}; import its source again, or remove it")
        # Taken out first, so that the last import also stands last.
        for row in good:
            found.pop(row.id, None)
            found[row.id] = row
    return tuple(found.values())


def _imported_at(path: Path) -> tuple[str, str]:
    """What the files are put in order by, the first row standing for all."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return next(csv.DictReader(file), {}).get("imported_at") or "", path.name
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} must be a readable CSV file of imported rows: {error}") from None
