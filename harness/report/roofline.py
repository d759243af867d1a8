"""The kernels of a step on this machine's roofline, as a table."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from ..measure.cache_levels import MEMORY
from ..measure.statistics import speeds
from ..store.record import Measurement
from ..words import figure, percent, span
from .ceilings import levels_of
from .table import Column, Table

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
    notes += [
        f"{record.subject.label} ({record.subject.implementation}): {record.outcome.reason}."
        for record in records
        if record.outcome.reason
    ]
    return [*notes, *_unknown(records), *_disturbed(records), *_memory(records)]


def _unknown(records: Sequence[Measurement]) -> Iterable[str]:
    """Why some kernels have a time and no share."""

    def reason(record: Measurement) -> str | None:
        if record.statistics is None or record.statistics.fraction_of_ceiling is not None:
            return None
        found = levels_of(record)
        if found is not None and found.doubt:
            return found.doubt
        return "their size lies between two levels"

    for why, names in _alike(records, reason):
        yield f"no share where it cannot be told which level of the memory operands come from ({why}): {names}."


def _disturbed(records: Sequence[Measurement]) -> Iterable[str]:
    """Kernels that were disturbed alike in one line each, with what was done about it."""
    timed = [record for record in records if record.statistics is not None and record.statistics.disturbance]

    def lacking(record: Measurement) -> str:
        return "their core" if record.timing and record.timing.follows == "core" else "the machine"

    for what, names in _alike(timed, lacking):
        shares = [one.statistics.disturbance for one in timed if one.statistics is not None and lacking(one) == what]
        low, high = percent(min(shares)), percent(max(shares))
        ends = dict.fromkeys(one.timing.stop_reason.split(";")[0] for one in timed if one.timing and lacking(one) == what)
        yield (
            f"disturbed, {low if low == high else f'{low} to {high}'} of {what} was gone ({', '.join(ends)}): {names}; "
            f"too few of their samples were calm, so all count, each against the probes beside it."
        )


def _memory(records: Sequence[Measurement]) -> Iterable[str]:
    """At which speeds of the memory the kernels were measured that wait for it."""
    rates = [
        rate
        for record in records
        if record.statistics is not None and record.timing is not None and record.statistics.bound == "memory"
        if record.timing.residency == "cold" and record.statistics.fraction_of_ceiling is not None
        if record.statistics.level in ("", MEMORY)
        for rate in record.timing.read_probe_gbs
    ]
    if not rates:
        return
    fast, slow = speeds(np.array(rates))
    at = f"{figure(fast)} GB/s" if slow is None else f"{figure(fast)} and {figure(slow)} GB/s by turns"
    yield f"the memory read {at} beside these kernels; each share is taken against the speed beside its samples."


def _alike(records: Iterable[Measurement], said: Callable[[Measurement], str | None]) -> Iterable[tuple[str, str]]:
    """What is said of some records, each once, with the names of those it is said of."""
    found: dict[str, list[str]] = {}
    for record in records:
        if (words := said(record)) is not None:
            found.setdefault(words, []).append(f"{record.subject.label} ({record.subject.implementation})")
    return ((words, ", ".join(dict.fromkeys(names))) for words, names in found.items())
