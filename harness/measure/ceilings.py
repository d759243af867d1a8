"""The machine's own limits, measured in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np

from ...kernels.peak import Peak
from ...kernels.stream import Stream
from ..store.figures import Ceilings
from ..store.known_ceilings import Known, Shelf
from ..store.record import utc_now
from . import mountain
from .budget import FAR_BYTES, Budget
from .cache_levels import Levels, Mountain, levels
from .caches import KEPT_MULTIPLE, Caches, Emptier
from .core import core_probe
from .probes import Probe, dispatch_s, fastest, probe, read_probe
from .reading import WORD_BYTES, buffer, reading
from .ready_call import ReadyCall
from .spent import Held, Spent
from .statistics import speeds
from .timer import HOST, Timer
from .wake import wake

ROUNDS = 7
"""Interleaved samples per probe; the level is their 90th percentile."""

LEFT = 1.1
"""A read that is faster than one from memory by more than this found some of its bytes in a cache."""


@dataclass(frozen=True)
class Limits:
    """The machine's ceilings, and the probes that go on beside the kernels.

    Attributes:
        ceilings: every level measured.
        levels: of the memory.
        caches: what they ask of a cold sample; the read probe empties them.
        read, multiply_add: the probes of memory and of arithmetic.
        core: the probe of the core that calls, None where that is not what computes.
        probe_bytes: that the probes hold.
    """

    ceilings: Ceilings
    levels: Levels
    caches: Caches
    read: Probe
    multiply_add: Probe
    core: Probe | None = None
    probe_bytes: float = 0.0


def measure_limits(
    backend: str,
    told_bytes: Mapping[str, int],
    formats: Sequence[str],
    budget: Budget,
    timer: Timer = HOST,
    *,
    shelf: Shelf | None = None,
    shared: Held = nullcontext,
    alone: Held = nullcontext,
    spent: Spent | None = None,
) -> Limits:
    """Measures where caches end, read, copy and triad from memory, arithmetic peaks and dispatch latency.

    Args:
        backend: JAX's name of it.
        told_bytes: size per cache level, smallest first, as the machine tells of all its cores together.
        formats: number formats to measure a matrix product in.
        budget: of memory.
        timer: what times the probes; that of the kernels, so that their ratio means something.
        shelf: where another process may have left its ceilings, and where this one leaves its own; None asks nobody.
        shared, alone: entered around what others may do too, and around what they may not.
        spent: told what preparing and measuring took.
    """
    spent = spent or Spent()
    last_told = max(told_bytes.values(), default=0)
    largest = budget.largest_working_set(last_told)
    known = shelf.find() if shelf else None
    if known is None:
        with alone():
            # Another process may have measured them while this one waited for its turn.
            known = shelf.find() if shelf else None
            if known is None:
                with spent.measuring():
                    known = _known(backend, told_bytes, formats, largest, timer)
                if shelf is not None:
                    shelf.keep(known)
    with shared(), spent.proving():
        found = levels(Mountain.of(known.ceilings), told_bytes)
        read_bytes = _read_bytes(found, largest)
        emptier = Emptier(read_probe(backend, timer, read_bytes, known.codes["read"]).rate, read_bytes)
        return Limits(
            known.ceilings,
            found,
            _caches(backend, found, known.ceilings, emptier, last_told).within(budget.room_for_copies(read_bytes)),
            Probe("read", emptier.rate, known.codes["read"]),
            probe(_MULTIPLY_ADD, backend, timer, known.codes["multiply_add"]),
            _core(backend),
            float(read_bytes),
        )


_MULTIPLY_ADD = Peak(kind="multiply_add", format="f32", size=4096, repeats=4096)


def _known(backend: str, told_bytes: Mapping[str, int], formats: Sequence[str], largest: int, timer: Timer) -> Known:
    shown = mountain.measured(mountain.working_sets(largest), timer)
    found = levels(shown, told_bytes)
    read_bytes = _read_bytes(found, largest)
    read = read_probe(backend, timer, read_bytes)
    going_on = {
        "read": read,
        "multiply_add": probe(_MULTIPLY_ADD, backend, timer),
        **{f"matmul {name}": probe(Peak(kind="matmul", format=name, size=1024), backend, timer) for name in formats},
    }
    core = _core(backend)
    rates, turns = _sampled(going_on, core)
    # They write where nothing else is kept, so each has the memory alone.
    for kind, arrays in (("copy", 2), ("triad", 3)):
        stream: Any = Stream(kind=kind, elements=read_bytes // WORD_BYTES // arrays)  # type: ignore[arg-type]
        once, more = _sampled({"read": read, kind: fastest(stream, backend, timer)}, core)
        rates[kind] = once[kind]
        rates["read"] += once["read"]
        turns += more
    level = {name: float(np.quantile(samples, 0.9)) for name, samples in rates.items()}
    fast, slow = speeds(np.asarray(rates["read"]))
    emptied = backend == "cpu" and _empties(read.rate, read_bytes, found)
    return Known(
        Ceilings(
            read_gbs=max(fast, level["read"]),
            read_slow_gbs=slow,
            copy_gbs=level["copy"],
            triad_gbs=level["triad"],
            cache_read_gbs={one.name: one.read_gbs for one in found.caches},
            cache_end_bytes={one.name: one.end_bytes for one in found.caches},
            working_set_bytes=shown.sizes,
            working_set_gbs=shown.gbs,
            working_set_low_gbs=shown.low_gbs,
            working_set_high_gbs=shown.high_gbs,
            turnover_bytes=float(read_bytes) if emptied else None,
            multiply_add_gflops=level["multiply_add"],
            matmul_gflops={name: level[f"matmul {name}"] for name in formats},
            dispatch_us=dispatch_s(timer) * 1e6,
            core_turns_per_us=float(np.quantile(turns, 0.9)) if turns else None,
            probed_at=utc_now(),
        ),
        {name: one.code for name, one in going_on.items()},
    )


def _sampled(probes: Mapping[str, Probe], core: Probe | None) -> tuple[dict[str, list[float]], list[float]]:
    """Samples of some probes by turns, and of the core's beside them."""
    rates: dict[str, list[float]] = {name: [] for name in probes}
    turns: list[float] = []
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for name in rng.permutation(list(probes)):
            rates[name].append(probes[name].rate())
            if core:
                turns.append(core.rate())
    return rates, turns


def _read_bytes(found: Levels, largest: int) -> int:
    """What the probe of the memory reads: as much as is beyond the last cache, and long enough for its threads to start."""
    end = found.caches[-1].end_bytes if found.caches and not found.doubt else largest
    beyond = 2 * KEPT_MULTIPLE * end
    return min(largest, max(FAR_BYTES, 2 ** int(np.ceil(np.log2(beyond)))))


def _caches(backend: str, found: Levels, ceilings: Ceilings, emptier: Emptier, told_bytes: float) -> Caches:
    seen = found.caches[-1].end_bytes if found.caches else 0.0
    last_level = max(seen, min(told_bytes, FAR_BYTES)) if found.doubt or backend != "cpu" else seen
    if ceilings.turnover_bytes is not None:
        return Caches.emptied(last_level, ceilings.read_gbs, emptier)
    return Caches.rotated(max(last_level, found.memory_from_bytes / KEPT_MULTIPLE))


def _empties(read: Callable[[], float], read_bytes: int, found: Levels) -> bool:
    """Whether reading so much leaves nothing of what was in a cache: what was is then as slow to read as what never was."""
    size = int(found.caches[-1].end_bytes) // 2 if found.caches else 0
    count = read_bytes // size if size else 0
    if count < 2 * KEPT_MULTIPLE:
        return not found.caches
    source, elements, program = buffer(read_bytes), size // WORD_BYTES, reading(size)
    windows = [jax.device_put(source[number * elements : (number + 1) * elements]) for number in range(count)]
    calls = [ReadyCall(program, kwargs={"source": window}) for window in windows]
    after, never = [], []
    for number in range(ROUNDS):
        victim = calls[number % count]
        victim()
        victim()
        read()
        after.append(HOST.seconds([victim], wake()))
    for call in calls:
        # Each was read a whole round before.
        never.append(HOST.seconds([call], wake()))
    return float(np.median(after)) * LEFT >= float(np.median(never))


def _core(backend: str) -> Probe | None:
    return Probe("core", core_probe()) if backend == "cpu" else None
