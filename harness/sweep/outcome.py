"""How a sweep's job stands at its end."""

from __future__ import annotations

from dataclasses import dataclass

from .ledger import Job


@dataclass(frozen=True)
class Outcome:
    """A job, and whether it had been finished before this sweep began."""

    job: Job
    is_skipped: bool
