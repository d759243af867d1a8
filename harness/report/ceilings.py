"""The machine's own limits as a table."""

from __future__ import annotations

from ..store.figures import Ceilings
from ..store.record import Measurement
from ..words import figure
from .table import Column, Table


def ceilings_table(record: Measurement) -> Table:
    """The ceilings that were measured in the same run as a record."""
    found = record.ceilings
    if found is None:
        raise ValueError("the record holds no ceilings")
    host = record.host
    return Table(
        f"Ceilings of this machine: {host.cpu_model}, {host.affinity_count} cores for this process",
        [Column("ceiling", text=True), Column("measured"), Column("unit", text=True)],
        [[name, figure(value), unit] for name, value, unit in _rows(found)],
        ["90th percentile of interleaved samples, measured in JAX in the process that timed the kernels."],
    )


def _rows(found: Ceilings) -> list[tuple[str, float, str]]:
    return [
        ("memory read", found.read_gbs, "GB/s"),
        ("memory copy", found.copy_gbs, "GB/s"),
        ("memory triad", found.triad_gbs, "GB/s"),
        *((f"{level} read", value, "GB/s") for level, value in found.cache_read_gbs.items()),
        ("multiply-add f32", found.multiply_add_gflops, "GFLOP/s"),
        *((f"matmul {name}", value, "GFLOP/s") for name, value in found.matmul_gflops.items()),
        ("dispatch", found.dispatch_us, "us"),
    ]
