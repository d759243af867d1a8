"""What a self-test of the gate found: rates with their intervals, and a plot of what is found against its size."""

from __future__ import annotations

from collections.abc import Sequence

from ...report.table import Column, Table
from ..verdict import Policy, suspicions
from .rates import FOUND_SHARE, PEER_LIMIT, Rate, found, peer_alarms, rulings, smallest_seen
from .rounds import Round

_BAR = 20
"""Characters of a full bar."""
_FINE = (*(step / 200 for step in range(2, 20)), *(step / 50 for step in range(5, 16)))
"""Slow-downs among which the smallest that is seen is looked for: half a percent apart up to 10 %, then two, to 30 %."""


def tables(rounds: Sequence[Round], policy: Policy, slowdowns: Sequence[float], *, is_loaded: bool) -> list[Table]:
    """The rates of the gate, and pytest-benchmark's beside them."""
    peer = f"pytest-benchmark, median:{PEER_LIMIT:.0%}"
    columns = [
        Column("slow-down"),
        Column("comparisons"),
        Column("called changed"),
        Column("95 %"),
        Column("", text=True),
        Column("inconclusive"),
        Column(peer),
        Column("its 95 %"),
    ]
    rows = [_row(rounds, policy, slowdown) for slowdown in (0.0, *sorted(slowdowns))]
    where = "beside a process that burns a core half of the time" if is_loaded else "as busy as the machine was"
    return [Table(f"What the gate says of slow-downs that are known, {where}", columns, rows, _notes(rounds, policy))]


def _row(rounds: Sequence[Round], policy: Policy, slowdown: float) -> list[str]:
    said = rulings(rounds, slowdown, policy)
    # Where nothing changed, either word is a false alarm.
    ours = found(said, "slower") if slowdown else found(said, "slower", "faster")
    alarms = peer_alarms(rounds, slowdown)
    theirs = Rate(sum(alarms), len(alarms))
    bar = "█" * round(_BAR * ours.share)
    name = f"{slowdown:.1%}".replace(".0%", "%") if slowdown else "none"
    return [
        name,
        str(ours.of),
        f"{ours.share:.1%}",
        _span(ours),
        bar,
        str(found(said, "inconclusive").count),
        f"{theirs.share:.1%}" if theirs.of else "-",
        _span(theirs) if theirs.of else "-",
    ]


def _notes(rounds: Sequence[Round], policy: Policy) -> list[str]:
    seen = smallest_seen(rounds, policy, _FINE)
    smallest = f"{seen:.1%}" if seen is not None else f"none up to {_FINE[-1]:.0%}"
    seconds = sorted(one.seconds for one in rounds)[len(rounds) // 2]
    kernels = max(len(one.quads) for one in rounds)
    again = sum(len(suspicions(one.estimates(), policy)) for one in rounds) / len(rounds)
    alarms = peer_alarms(rounds, 0.0)
    notes = [
        f"smallest slow-down that is found {FOUND_SHARE:.0%} of the time: {smallest}",
        f"{kernels} kernels: {seconds:.0f} s for a look at all of them; where nothing changed, "
        f"{again:.1f} of them are looked at again, in two to {policy.most_confirmations} fresh pairs of processes",
        f"{len(rounds)} pairs of processes with the same code; each sample of the slowed side is charged for that "
        "share of another one; a round judges what was suspected in those before it, so comparisons are not quite independent",
    ]
    if alarms:
        notes.append("pytest-benchmark compares the medians of two runs one after the other, of the same kernels and processes")
    return notes


def _span(one: Rate) -> str:
    low, high = one.interval
    return f"{low:.1%} to {high:.1%}"
