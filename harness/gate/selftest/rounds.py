"""What the self-test measured, one pair of processes after the other, kept so that a run that is stopped can go on."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ...files.durable import remove_stale
from ...report.output import write_text
from ..pair import Estimate, Quad, judged
from ..trial import Key

Series = tuple[float, ...]
"""Samples one after the other, in seconds."""


@dataclass(frozen=True)
class Round:
    """What one pair of processes with the same code gave.

    Attributes:
        quads: kernel -> what the gate measured of it.
        base, head: kernel -> samples of that process alone, as a benchmark runner takes them.
        seconds: that the gate's part took.
    """

    quads: Mapping[str, Sequence[Quad]]
    base: Mapping[str, Series] = field(default_factory=dict)
    head: Mapping[str, Series] = field(default_factory=dict)
    seconds: float = 0.0

    def estimates(self, slowdown: float = 0.0) -> dict[Key, Estimate]:
        """What the round says of every kernel, each charged for that share of its work."""
        return {
            (name, "latency"): judged([quad.slowed(slowdown) if slowdown else quad for quad in quads])
            for name, quads in self.quads.items()
            if quads
        }


@dataclass(frozen=True)
class Shelf:
    """Rounds of one question on one machine, a file each.

    Attributes:
        folder: made when first written to.
    """

    folder: Path

    def rounds(self) -> list[Round]:
        """What is there, in the order in which it was measured.

        Raises:
            UsageError: for a file that is not one of ours.
        """
        return [_read(path) for path in sorted(self.folder.glob("round-*.json"))]

    def add(self, one: Round) -> None:
        """Keeps a round.

        Raises:
            UsageError: if it cannot be written; nothing is left behind.
        """
        number = 1 + len(list(self.folder.glob("round-*.json")))
        write_text(json.dumps(_as_json(one)), self.folder / f"round-{number:04}.json", "results")

    def put_away(self) -> Path:
        """Gives the rounds a name of their own, so that the next self-test measures anew; returns where they are."""
        remove_stale(self.folder)
        away = self.folder.with_name(f"{datetime.now(UTC):%Y%m%dT%H%M%SZ}-{self.folder.name}")
        self.folder.rename(away)
        return away


def _as_json(one: Round) -> dict[str, Any]:
    quads = {name: [[quad.base, quad.head] for quad in quads] for name, quads in one.quads.items()}
    return {"quads": quads, "base": one.base, "head": one.head, "seconds": one.seconds}


def _read(path: Path) -> Round:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        quads = {name: tuple(map(Quad.read, quads)) for name, quads in said["quads"].items()}
        base, head = ({name: tuple(map(float, series)) for name, series in said[side].items()} for side in ("base", "head"))
        return Round(quads, base, head, float(said["seconds"]))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UsageError(f"results hold a round of a self-test that cannot be read, {str(path)!r}: {error}") from None
