"""What the store remembers that a new run or a table needs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ...kernels.op import Workload
from .record import Measurement
from .store import Report, Store

HISTORY_RUNS = 20
"""Runs of a host that say what is usual there: enough for a median, few enough to follow a change of the machine."""

OWN_RUNS = 100
"""Runs of this machine that its own fit rests on: reading more takes longer than an answer may."""


@dataclass(frozen=True)
class Usual:
    """Calm rates of this host's probes in earlier runs; None without history."""

    read_gbs: float | None = None
    multiply_add_gflops: float | None = None
    core_turns_per_us: float | None = None


def usual(store: Store, host_key: str) -> tuple[Usual, str]:
    """The median ceilings of a host's last runs, which tell a new run whether its whole time is disturbed.

    Returns:
        The rates, and one sentence on what the store holds that cannot be read, empty where that is nothing.
    """
    report = store.query(
        "SELECT median(read_gbs) AS read_gbs, median(multiply_add_gflops) AS multiply_add_gflops, "
        "median(core_turns_per_us) AS core_turns_per_us FROM ("
        "SELECT run_id, max(read_gbs) AS read_gbs, max(multiply_add_gflops) AS multiply_add_gflops, "
        "max(core_turns_per_us) AS core_turns_per_us FROM records "
        "WHERE host_key = ? AND read_gbs IS NOT NULL GROUP BY run_id ORDER BY max(started_at) DESC LIMIT ?)",
        (host_key, HISTORY_RUNS),
    )
    return Usual(**report.found[0]) if report.found else Usual(), report.complaint


def latest(store: Store, calls: Iterable[Workload]) -> Report[Measurement]:
    """The newest cold measurement of each of some calls with each implementation, in the order of the calls.

    A whole step counts as it is: it finds its weights where the step before it left them.

    All are of the host that measured one of them last: times of two machines are not added up.
    """
    wanted = {(call.op, json.dumps(call.axes(), sort_keys=True)): place for place, call in enumerate(calls)}
    pairs = ", ".join(["(?, ?)"] * len(wanted))
    # Samples are most of a record: only of the few that are wanted are they read.
    narrow = store.query(
        "WITH asked AS (SELECT record_id, started_at, host_key, op, axes, implementation FROM records "
        "WHERE (residency IS DISTINCT FROM 'warm' OR op = 'step') AND axes IN (SELECT unnest(?)) "
        f"AND (op, axes) IN ({pairs or '(NULL, NULL)'})) "
        "SELECT record_id, started_at FROM asked "
        "WHERE host_key = (SELECT arg_max(host_key, (started_at, record_id)) FROM asked) "
        "QUALIFY row_number() OVER (PARTITION BY op, axes, implementation ORDER BY started_at DESC, record_id DESC) = 1",
        [[axes for _, axes in wanted], *(part for pair in wanted for part in pair)],
    )
    if not narrow.found:
        return Report([], narrow.unreadable)
    times = [row["started_at"] for row in narrow.found]
    # The times let the reader pass over whole groups of rows, which random identifiers do not.
    report = store.read(
        "started_at BETWEEN ? AND ? AND record_id IN (SELECT unnest(?))",
        [min(times), max(times), [row["record_id"] for row in narrow.found]],
    )
    ordered = sorted(report.found, key=lambda one: wanted[one.subject.op, one.subject.axes])
    return Report(ordered, report.unreadable)


def own(store: Store, machine_key: str) -> Report[Measurement]:
    """What was measured on this machine with the software that it was measured with last: kernels and steps with times.

    Args:
        store: where.
        machine_key: of the machine; see `host.Host`.
    """
    # A search of block sizes tries bad ones too.
    ours = "machine_key = ? AND status = 'ok' AND implementation NOT LIKE '%[%'"
    report = store.read(
        f"{ours} AND implementation NOT LIKE 'peers.%' AND run_id IN "
        f"(SELECT run_id FROM records WHERE {ours} GROUP BY run_id ORDER BY max(started_at) DESC LIMIT ?)",
        (machine_key, machine_key, OWN_RUNS),
    )
    here = report.found[-1].host.key if report.found else ""
    return Report([one for one in report.found if one.host.key == here], report.unreadable)


def kernels_of(records: Sequence[Measurement]) -> list[Measurement]:
    """The calls that steps are made of."""
    return [one for one in records if one.subject.workload.is_kernel]
