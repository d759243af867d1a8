"""The machine's own limits as a table."""

from __future__ import annotations

from collections.abc import Iterator

from ..measure.cache_levels import MEMORY, Levels, Mountain, levels
from ..store.record import Measurement
from ..words import binary, figure
from .table import Column, Table


def ceilings_table(record: Measurement) -> Table:
    """The ceilings that were measured in the same run as a record.

    Raises:
        ValueError: if it holds none.
    """
    if record.ceilings is None:
        raise ValueError("the record holds no ceilings")
    host, found = record.host, levels_of(record)
    return Table(
        f"Ceilings of this machine: {host.cpu_model}, {host.affinity_count} cores for this process",
        [Column("ceiling", text=True), Column("measured"), Column("10-90 %", rank=1), Column("unit", text=True)],
        list(_rows(record, found)),
        ["90th percentile of interleaved samples, measured in JAX in the process that timed the kernels.", *_notes(found)],
    )


def levels_of(record: Measurement) -> Levels | None:
    """Where the caches of a record's machine end; None in records from before that was measured."""
    if record.ceilings is None or not record.ceilings.working_set_bytes:
        return None
    return levels(Mountain.of(record.ceilings), record.host.cache_bytes)


def level_span(ceilings_gbs: float, mountain: Mountain, first_bytes: float, end_bytes: float) -> tuple[float, float] | None:
    """The interval of a level's rate: that of the working set in it whose rate is nearest."""
    within = [place for place, size in enumerate(mountain.sizes) if first_bytes < size <= end_bytes]
    if not within:
        return None
    place = min(within, key=lambda one: abs(mountain.gbs[one] - ceilings_gbs))
    return mountain.low_gbs[place], mountain.high_gbs[place]


def _rows(record: Measurement, found: Levels | None) -> Iterator[list[str]]:
    ceilings = record.ceilings
    assert ceilings is not None

    def row(name: str, value: float, unit: str, interval: tuple[float, float] | None = None) -> list[str]:
        return [name, figure(value), "-" if interval is None else "-".join(map(figure, interval)), unit]

    slow = ceilings.read_slow_gbs
    yield row("memory read" if slow is None else "memory read, at its faster speed", ceilings.read_gbs, "GB/s")
    if slow is not None:
        yield row("memory read, at its slower speed", slow, "GB/s")
    yield row("memory copy", ceilings.copy_gbs, "GB/s")
    yield row("memory triad", ceilings.triad_gbs, "GB/s")
    begin = 0.0
    for name, gbs in ceilings.cache_read_gbs.items():
        end, told = ceilings.cache_end_bytes.get(name), record.host.cache_bytes.get(name)
        if found is None or end is None:
            yield row(f"{name} read", gbs, "GB/s")
            continue
        beside = "" if told is None else f" ({binary(told)} told)"
        interval = level_span(gbs, Mountain.of(ceilings), begin, end)
        yield row(f"{name} read, to {binary(end)}{beside}", gbs, "GB/s", interval)
        begin = end
    yield row("multiply-add f32", ceilings.multiply_add_gflops, "GFLOP/s")
    for name, value in ceilings.matmul_gflops.items():
        yield row(f"matmul {name}", value, "GFLOP/s")
    yield row("dispatch", ceilings.dispatch_us, "us")


def _notes(found: Levels | None) -> Iterator[str]:
    if found is None:
        return
    if found.caches:
        yield "a cache ends with the largest working set read at its rate; what the machine tells may be others' too."
    if found.unseen:
        yield f"no rate shows {', '.join(found.unseen)}: the level reads no faster than the next, or none of it is ours."
    if found.doubt:
        yield f"what counts as {MEMORY} may be a cache: {found.doubt}."
