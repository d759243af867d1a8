"""How operands are kept from being found in a cache."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from ...kernels.op import Workload
from .budget import FAR_BYTES
from .timer import Call

KEPT_MULTIPLE = 4
"""Last-level caches that must be read between two uses, so that a cache which does not evict the oldest first keeps little."""
SAMPLE_S = 2e-3
"""Calls are batched until a sample lasts this long: far above the timer's resolution, short against drift."""
_LEAST_TURNOVER = 2**22
"""Bytes that the calls of a sample read at the least, so that memory of any speed is kept busy for some of them."""


@dataclass(frozen=True)
class Caches:
    """What the machine's caches ask of a cold sample.

    Attributes:
        last_level_bytes: where the last cache ends.
        rotation_bytes: read by the calls of one sample before one reads the same bytes again.
        turnover_bytes: read between two uses of the same bytes, by the calls and by what empties the caches.
        empty: done before each sample, so that it finds nothing in a cache; None where rotation must see to that.
    """

    last_level_bytes: float
    rotation_bytes: float
    turnover_bytes: float
    empty: Call | None = None

    @classmethod
    def rotated(cls, last_level_bytes: float) -> Caches:
        """Nothing empties the caches: copies of what streams are used in turn, so many that none is still there."""
        rotation = KEPT_MULTIPLE * last_level_bytes
        return cls(last_level_bytes, rotation, rotation)

    @classmethod
    def told(cls, last_level_bytes: float) -> Caches:
        """By what the machine tells, which may be another's share too, and no more than most machines have."""
        return cls.rotated(min(last_level_bytes, FAR_BYTES / KEPT_MULTIPLE))

    @classmethod
    def emptied(cls, last_level_bytes: float, read_gbs: float, emptier: Emptier) -> Caches:
        """Reading empties the caches before each sample, so that a copy is enough for each of its calls."""
        # In powers of four, so that a memory with two speeds has one plan, and its programs are found again.
        rotation = max(_LEAST_TURNOVER, 4 ** round(np.log2(SAMPLE_S * read_gbs * 1e9) / 2))
        return cls(last_level_bytes, rotation, rotation + emptier.nbytes, emptier.empty)

    def within(self, room_bytes: float) -> Caches:
        """The same where copies may take so much and no more: samples are then shorter or, with nothing emptied, not cold."""
        rotation = self.rotation_bytes
        while rotation > max(room_bytes, _LEAST_TURNOVER):
            rotation /= 4
        return replace(self, rotation_bytes=rotation, turnover_bytes=self.turnover_bytes - self.rotation_bytes + rotation)

    def copies(self, workload: Workload, streamed_bytes: float) -> int:
        """Of what streams, so that no call of a sample meets what another has read; one where a call hands its buffers on."""
        if not streamed_bytes or workload.donated:
            return 1
        return max(1, -(-int(self.rotation_bytes) // max(1, int(streamed_bytes))))


class Emptier:
    """Reads so much that caches keep nothing else, unless that was done since something else was timed.

    Attributes:
        nbytes: that it reads.
    """

    def __init__(self, read: Callable[[], float], nbytes: float) -> None:
        self._read, self.nbytes = read, nbytes
        self._are_empty = False

    def rate(self) -> float:
        """What the reading takes a sample of, the memory's rate."""
        rate = self._read()
        self._are_empty = True
        return rate

    def empty(self) -> None:
        """Before a sample, which fills the caches again."""
        if not self._are_empty:
            self._read()
        self._are_empty = False
