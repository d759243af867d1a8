"""How each job ended, one small file per job beside its measurements: what a sweep is resumed from and told by."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal

from ..errors import UsageError
from ..files.durable import new_file

Status = Literal["done", "failed", "timed out", "refused"]


@dataclass(frozen=True, kw_only=True)
class Job:
    """One configuration that was run.

    Attributes:
        key: see `identity.Here.key`.
        spelling: see `identity.Here.spelling`.
        status: `done`, whatever its kernels came to; `failed`, its process raised an error or ended; `timed out`;
            `refused`, the configuration cannot be.
        reason: why it is not `done`, in one sentence; "" if it is.
        exit_code: what `roofcast bench` ends with for it alone.
        overrides: what repeats it, as typed in a shell.
        run_id: of its measurements; "" where there are none.
        started_at: ISO 8601 time in UTC.
        seconds: how long it took, waiting for the device left out.
        compiling_s, measuring_s, proving_s: of these; see `measure.spent.Spent`.
    """

    key: str
    spelling: str
    status: Status
    reason: str = ""
    exit_code: int
    overrides: str
    run_id: str = ""
    started_at: str
    seconds: float = 0.0
    compiling_s: float = 0.0
    measuring_s: float = 0.0
    proving_s: float = 0.0

    @property
    def is_finished(self) -> bool:
        """Need not be run again. What failed may have failed by the machine, and what is refused is refused at once."""
        return self.status == "done"

    def spelt(self, spelling: str) -> Job:
        """The same job, found by another spelling."""
        return replace(self, spelling=spelling)


@dataclass(frozen=True)
class Ledger:
    """The jobs whose measurements meet in one place.

    Attributes:
        folder: where the files lie.
    """

    folder: Path

    @classmethod
    def beside(cls, results: str, sweep_folder: Path) -> Ledger:
        """The ledger of a store: in it where it is a folder, beside the sweeps' folders where it is an object store."""
        return cls((sweep_folder.parent if "://" in results else Path(results)) / "jobs")

    def check_writable(self) -> None:
        """Raises UsageError if its folder, and so those beside it, cannot be made."""
        with self._telling():
            self.folder.mkdir(parents=True, exist_ok=True)

    def write(self, job: Job) -> None:
        """Keeps how a job ended, in place of how it ended before.

        Raises:
            UsageError: if the folder cannot be written to.
        """
        with self._telling(), new_file(self.folder / f"{job.key}.json") as path:
            path.write_text(json.dumps(asdict(job)), encoding="utf-8")

    def find(self, key: str) -> Job | None:
        """How a job ended; None where it was never run here, or its file cannot be read."""
        return _read(self.folder / f"{key}.json")

    def by_spelling(self) -> dict[str, Job]:
        """All jobs, by how their overrides were written."""
        with self._telling():
            files = sorted(self.folder.glob("*.json"))
        return {job.spelling: job for job in map(_read, files) if job is not None}

    @contextmanager
    def _telling(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            wanted = "a folder that can be written to"
            raise UsageError(f"results must be {wanted}; got {str(self.folder)!r}: {error.strerror}") from None


def _read(file: Path) -> Job | None:
    try:
        return Job(**json.loads(file.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        # Of another version, or damaged: the job is then simply run again.
        return None
