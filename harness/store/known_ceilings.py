"""A host's ceilings, measured by one job of a sweep and taken over by those that follow it there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from ..files.columns import flatten, unflatten
from ..files.durable import new_file
from .figures import Ceilings

FRESH_S = 600.0
"""Older ceilings are measured anew. What a kernel reaches is taken against the probes beside its own samples; of the ceilings
it needs only what binds it, and how the cache's levels, the products and the core stand to those probes, which changes with the
neighbours."""


@dataclass(frozen=True)
class Known:
    """What a process need not find out again.

    Attributes:
        ceilings: of the host.
        codes: probe -> the implementation that was fastest.
    """

    ceilings: Ceilings
    codes: Mapping[str, str]

    @property
    def age_s(self) -> float:
        """Seconds since they were measured."""
        return (datetime.now(UTC) - datetime.fromisoformat(self.ceilings.probed_at)).total_seconds()


@dataclass(frozen=True)
class Shelf:
    """The place of one host's ceilings in a sweep.

    Attributes:
        folder: of the sweep.
        host_key: of the host, its software and device included.
    """

    folder: Path
    host_key: str

    def find(self) -> Known | None:
        """The ceilings, where they are there and fresh."""
        try:
            said = json.loads(self._file.read_text(encoding="utf-8"))
            known = Known(unflatten(Ceilings, said["ceilings"]), said["codes"])
            return known if 0 <= known.age_s < FRESH_S else None
        except (OSError, ValueError, KeyError, TypeError):
            # Not there yet, or damaged: measuring them again costs seconds.
            return None

    def keep(self, known: Known) -> None:
        """Puts ceilings there, in place of older ones."""
        with new_file(self._file) as path:
            path.write_text(json.dumps({"ceilings": flatten(known.ceilings), "codes": dict(known.codes)}), encoding="utf-8")

    @property
    def _file(self) -> Path:
        return self.folder / f"ceilings-{self.host_key}.json"
