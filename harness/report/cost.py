"""What a call costs by the op's own arithmetic, beside what XLA says, with the gap in words."""

from __future__ import annotations

from collections.abc import Sequence

from ..store.record import Measurement
from ..words import figure
from .table import Column, Table

_COLUMNS = [
    Column("kernel", text=True),
    Column("code", text=True),
    Column("bytes", "kB"),
    Column("XLA", "kB"),
    Column("FLOPs", "k"),
    Column("XLA", "k"),
    Column("temporary", "kB", rank=2),
    Column("why they differ", text=True, rank=1),
]


def cost_table(records: Sequence[Measurement]) -> Table:
    """One line per compiled kernel. The analytic count is the truth: each input read once, each output written once."""
    rows = [_row(record) for record in records if record.compilation is not None]
    return Table("Cost of a call: by our count, and by XLA's", _COLUMNS, rows)


def _row(record: Measurement) -> list[str]:
    work, xla = record.work, record.compilation
    if xla is None:
        raise ValueError("the record was not compiled")
    figures = (
        work.bytes_read + work.bytes_written,
        xla.xla_bytes,
        work.flops,
        xla.xla_flops,
        xla.temporary_bytes,
    )
    # XLA says -1 where it does not know.
    cells = [figure(value / 1e3) if value is not None and value >= 0 else "-" for value in figures]
    return [record.subject.label, record.subject.implementation, *cells, xla.cost_note]
