"""Where each level of a memory ends and how fast it is read, from the rates of working sets; pure arithmetic.

What a machine tells of its caches says where to look. A virtual machine tells the whole socket's cache and has a part of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from ..store.figures import Ceilings

MEMORY = "memory"
FASTER = 1.15
"""A level that reads less than so many times as fast as the next outer one cannot be told from it: probes drift by as much."""
FLAT, FEWEST = 1.2, 3
"""A level shows in so many working sets, one after the other, whose rates differ by no more than this factor: between two
levels rates fall, and the rate of one working set may be a neighbour's doing."""
BEYOND = 4
"""A cache that does not evict the oldest first keeps something of working sets up to so many times its size."""


@dataclass(frozen=True)
class Mountain:
    """Rates of reading working sets again and again (Bryant and O'Hallaron, "Computer Systems", 3rd edition, section 6.6.1).

    Attributes:
        sizes: bytes of each, smallest first.
        gbs, low_gbs, high_gbs: median rate of each, decimal GB/s, with its tenth and ninetieth percentiles.
    """

    sizes: tuple[float, ...]
    gbs: tuple[float, ...]
    low_gbs: tuple[float, ...]
    high_gbs: tuple[float, ...]

    @classmethod
    def of(cls, ceilings: Ceilings) -> Mountain:
        """What was measured with some ceilings."""
        given = (getattr(ceilings, f"working_set_{name}") for name in ("bytes", "gbs", "low_gbs", "high_gbs"))
        return cls(*given)


@dataclass(frozen=True)
class Level:
    """A cache as it is.

    Attributes:
        name: `L2`.
        end_bytes: the largest working set that is read at the level's rate.
        read_gbs: that rate.
    """

    name: str
    end_bytes: float
    read_gbs: float


@dataclass(frozen=True)
class Levels:
    """All levels of a memory.

    Attributes:
        caches: those that can be told, innermost first.
        memory_gbs: rate of the largest working sets.
        memory_from_bytes: the smallest working set from which on all are read at the memory's rate.
        doubt: why even the largest working set may not have been read from memory, in words; "" where it was.
        unseen: caches that the machine tells of and no rate shows, in words.
    """

    caches: tuple[Level, ...]
    memory_gbs: float
    memory_from_bytes: float
    doubt: str = ""
    unseen: tuple[str, ...] = field(default=())

    def of(self, footprint_bytes: float) -> str | None:
        """The level that a working set is read from; None where it lies between two, so that its rate cannot be told."""
        for level in self.caches:
            if footprint_bytes <= level.end_bytes:
                return level.name
        return MEMORY if footprint_bytes >= self.memory_from_bytes and not self.doubt else None

    def rate_gbs(self, name: str) -> float:
        """Read bandwidth of a level."""
        return next((one.read_gbs for one in self.caches if one.name == name), self.memory_gbs)


def levels(mountain: Mountain, told_bytes: Mapping[str, float]) -> Levels:
    """The levels that a mountain shows.

    From the outermost inwards, each level's rate is the highest that working sets keep to which only it, by what is told, can
    hold, and it ends where rates fall below the geometric mean of its own and the next outer level's.

    Args:
        mountain: of the machine.
        told_bytes: caches as the machine tells, smallest first; empty where it tells nothing: then one level is looked for.
    """
    sizes, rates = np.asarray(mountain.sizes), _smooth(mountain.gbs)
    memory = float(np.median(rates[-3:]))
    told = list(told_bytes.items()) or [("cache", math.inf)]
    found: list[Level] = []
    unseen: list[str] = []
    outer_gbs = memory
    for place in range(len(told) - 1, -1, -1):
        name, size = told[place]
        inner = told[place - 1][1] if place else 0.0
        able = (sizes > inner) & (sizes <= size)
        rate = _flat(rates[able])
        if rate < FASTER * outer_gbs:
            unseen.append(f"{name}, told to have {_mib(size)}" if told_bytes else "any cache")
            continue
        end = float(sizes[able & (rates >= math.sqrt(rate * outer_gbs))].max())
        found.append(Level(name, end, rate))
        outer_gbs = rate
    faster = np.flatnonzero(rates > FASTER * memory)
    memory_from = float(sizes[min(int(faster[-1]) + 1, len(sizes) - 1)]) if len(faster) else 0.0
    outermost, size = told[-1]
    # Where a cache that was not seen to end would end, what is told is all that is known.
    if found and (not told_bytes or found[0].name == outermost):
        outermost, size = found[0].name, found[0].end_bytes
    doubt = ""
    if math.isfinite(size) and sizes[-1] < BEYOND * size:
        doubt = f"the largest working set was {_mib(sizes[-1])}, of which {outermost} with {_mib(size)} may have held a part"
    return Levels(tuple(reversed(found)), memory, memory_from, doubt, tuple(reversed(unseen)))


def _flat(rates: np.ndarray) -> float:
    """The highest rate that neighbours keep to, 0 where there is none."""
    windows = [rates[start : start + FEWEST] for start in range(len(rates) - FEWEST + 1)]
    return max((float(np.median(window)) for window in windows if window.max() <= FLAT * window.min()), default=0.0)


def _smooth(gbs: Sequence[float]) -> np.ndarray:
    """Medians of three neighbours, so that a single rate shows no level."""
    rates = np.asarray(gbs, float)
    return np.concatenate([rates[:1], np.median(np.stack([rates[:-2], rates[1:-1], rates[2:]]), axis=0), rates[-1:]])


def _mib(size: float) -> str:
    return f"{size / 2**20:.4g} MiB"
