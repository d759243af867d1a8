"""What a check of the machine has to say."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "note", "warning", "error"]
LEVELS: tuple[Level, ...] = ("ok", "note", "warning", "error")
"""From harmless to fatal: a note explains figures, a warning spoils them, an error prevents them."""


@dataclass(frozen=True)
class Finding:
    """One thing about this machine that matters to a measurement.

    Attributes:
        name: what was looked at.
        level: see `LEVELS`.
        what: what was found, a sentence.
        advice: what to do about it, a sentence; "" where there is nothing to do.
    """

    name: str
    level: Level
    what: str
    advice: str = ""
