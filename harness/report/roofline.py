"""The kernels of a step on this machine's roofline, as a table."""

from __future__ import annotations

from collections.abc import Sequence

from ..store.record import Measurement
from ..words import figure, percent, span
from .table import Column, Table

NOTABLE_SPEEDUP = 1.2
"""Memory that ran this much faster than its ceiling was in another state; less is the usual drift of a shared machine."""

_COLUMNS = [
    Column("role", text=True, rank=3),
    Column("kernel", text=True),
    Column("code", text=True),
    Column("per token", rank=4),
    Column("latency", "us"),
    Column("rate", "GB/s"),
    Column("intensity", "FLOP/B", rank=6),
    Column("floor", "us", rank=5),
    Column("of ceiling", bar=True),
    Column("95 %", rank=2),
    Column("bound", text=True, rank=1),
]


def roofline_table(records: Sequence[Measurement]) -> Table:
    """One line per measurement, in step order; what has no time says why."""
    first = records[0].subject
    title = f"Kernels of {first.model} at context {first.context}: {first.weight_format} weights, {first.kv_format} KV cache"
    return Table(title, _COLUMNS, [_row(record) for record in records], _notes(records))


def _row(record: Measurement) -> list[str]:
    subject, work, statistics = record.subject, record.work, record.statistics
    moved = work.bytes_read + work.bytes_written
    head = [subject.role, subject.label, subject.implementation, str(subject.count_per_token)]
    intensity = figure(work.flops / moved) if moved else "-"
    if statistics is None:
        return [*head, "-", "-", intensity, "-", "-", "-", record.outcome.status]
    return [
        *head,
        figure(statistics.latency_us),
        figure(statistics.bandwidth_gbs),
        intensity,
        figure(statistics.floor_us),
        percent(statistics.fraction_of_ceiling),
        span(statistics.fraction_low, statistics.fraction_high),
        statistics.bound,
    ]


def _notes(records: Sequence[Measurement]) -> list[str]:
    residencies = {record.subject.label: record.timing.residency for record in records if record.timing}
    warm = [label for label, residency in residencies.items() if residency == "warm"]
    cold = "; weights and KV cache cold" if len(warm) < len(residencies) else ""
    notes = [f"of ceiling: floor over time, each sample paired with the probes beside it{cold}."]
    if warm:
        notes.append(f"warm, their operands may be in cache: {', '.join(warm)}.")
    for record in records:
        if record.outcome.reason:
            notes.append(f"{record.subject.label} ({record.subject.implementation}): {record.outcome.reason}.")
        if record.statistics is not None and record.statistics.disturbance:
            share = percent(record.statistics.disturbance)
            code = f"{record.subject.label} ({record.subject.implementation})"
            what = "its core" if record.timing and record.timing.follows == "core" else "the machine"
            notes.append(f"{code}: disturbed, {share} of {what} was gone; {_stop(record)}.")
    faster = max((_memory_speedup(record) for record in records), default=1.0)
    if faster > NOTABLE_SPEEDUP:
        notes.append(
            f"memory ran up to {faster:.1f} times as fast beside these kernels as when the ceilings were taken; "
            f"against faster memory a kernel that also computes reaches less of the ceiling."
        )
    return notes


def _memory_speedup(record: Measurement) -> float:
    """How much faster the calm read probe was beside a memory-bound kernel than when the ceilings were taken."""
    statistics, ceilings = record.statistics, record.ceilings
    if (
        statistics is None
        or ceilings is None
        or statistics.bound != "memory"
        or (record.timing and record.timing.residency == "warm")
    ):
        return 1.0
    return (record.work.bytes_read + record.work.bytes_written) / (statistics.floor_us * 1e3) / ceilings.read_gbs


def _stop(record: Measurement) -> str:
    return record.timing.stop_reason if record.timing else ""
