"""What each job of a sweep is doing, in files, for its processes may be anywhere that the folder is seen from."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class Standing:
    """How far one job is.

    Attributes:
        doing: what is being done, in words.
        share: of the job that is done, from 0 to 1.
        ended: its status, "" while it runs.
    """

    doing: str = ""
    share: float = 0.0
    ended: str = ""


@dataclass(frozen=True)
class Board:
    """The standings of one sweep.

    Attributes:
        folder: of the sweep.
    """

    folder: Path

    def post(self, number: int, standing: Standing) -> None:
        """Says how far a job is. Nothing is lost with it, so it need not reach the disk."""
        final = self.folder / f"job-{number}.standing"
        part = final.with_suffix(".tmp")
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            part.write_text(json.dumps(asdict(standing)), encoding="utf-8")
            os.replace(part, final)

    def read(self) -> Mapping[int, Standing]:
        """By number, in no particular order."""
        return {int(file.stem.removeprefix("job-")): _read(file) for file in self.folder.glob("job-*.standing")}

    def clear(self) -> None:
        """Takes everything down."""
        for file in self.folder.glob("job-*.*"):
            file.unlink(missing_ok=True)


def _read(file: Path) -> Standing:
    return Standing(**json.loads(file.read_text(encoding="utf-8")))
