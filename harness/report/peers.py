"""Our kernels beside other libraries', from the same run."""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.step import DecodeStep
from ..store.figures import Statistics
from ..store.record import Measurement
from ..words import figure
from .table import Column, Table

_COLUMNS = [
    Column("kernel", text=True),
    Column("ours", text=True),
    Column("latency", "us"),
    Column("library", text=True),
    Column("latency", "us"),
    Column("ours is faster by", "x"),
]


def peers_table(records: Sequence[Measurement]) -> Table | None:
    """One line per kernel and library that computed it in the same run as ours; None where there is none."""
    timed = [record for record in records if record.statistics is not None]
    pairs = [
        (ours, peer)
        for peer in timed
        if peer.subject.is_peer
        for ours in timed
        if not ours.subject.is_peer and _same_call(ours, peer)
    ]
    if not pairs:
        return None
    notes = [
        "faster by: ratio of the fractions of the ceiling, each paired with the probes beside its own samples.",
        "libraries may round the vector to 8 bits or to bfloat16; ours keep it in float32.",
    ]
    if any(peer.subject.op == DecodeStep.op for _, peer in pairs):
        notes.append("a library's whole step ends with the logits; ours draws the next token too.")
    return Table("Beside other libraries, interleaved in one run", _COLUMNS, [_row(*pair) for pair in pairs], notes)


def _same_call(ours: Measurement, peer: Measurement) -> bool:
    return (ours.run.run_id, ours.subject.op, ours.subject.axes) == (peer.run.run_id, peer.subject.op, peer.subject.axes)


def _row(ours: Measurement, peer: Measurement) -> list[str]:
    mine, theirs = ours.statistics, peer.statistics
    if mine is None or theirs is None:
        raise ValueError("only what has a time can be compared")
    return [
        ours.subject.label,
        ours.subject.implementation,
        figure(mine.latency_us),
        peer.subject.implementation.removeprefix("peers."),
        figure(theirs.latency_us),
        figure(_faster(mine, theirs)),
    ]


def _faster(mine: Statistics, theirs: Statistics) -> float | None:
    """By which factor; None where either has no share of a ceiling."""
    if mine.fraction_of_ceiling is None or theirs.fraction_of_ceiling is None:
        return None
    return mine.fraction_of_ceiling / theirs.fraction_of_ceiling
