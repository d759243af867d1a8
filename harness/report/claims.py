"""An article's claims as one table, and as plain figures for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from ..claims.article import Claim
from . import table as drawn
from .answer import interval_note
from .output import write_text
from .table import Column, Table

_COLUMNS = [
    Column("#"),
    Column("claim", text=True),
    Column("as stated", text=True),
    Column("what physics allows", text=True),
    Column("what we predict", text=True),
    Column("verdict", text=True),
    Column("what would make it true", text=True),
]


def table(source: str, claims: Sequence[Claim]) -> Table:
    """One line per claim, every figure but the claim's own computed."""
    rows = []
    for one in claims:
        found = one.finding
        rows.append(
            [str(one.id), one.claim, one.stated, found.allows, found.predicts or "-", found.verdict, found.least or "-"]
        )
    notes = [
        f"as stated in: {source}",
        "computed by roofcast claims from conf/model, conf/device and the decode model",
        interval_note(),
        "predictions are at batch 1 and a context of 2048, for an engine of which nothing is known",
    ]
    return Table("Claims about wafer-scale decode", _COLUMNS, rows, notes)


def write(source: str, claims: Sequence[Claim], path: Path) -> None:
    """The table to `FILE.md` or `FILE.csv`, with every computed figure to `FILE.json`.

    Raises:
        UsageError: if the file cannot be written.
    """
    if path.suffix == ".json":
        write_text(json.dumps({"source": source, "claims": [asdict(one) for one in claims]}, indent=1) + "\n", path)
    else:
        drawn.write([table(source, claims)], path)
