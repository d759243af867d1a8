"""What the store remembers that a new run or a table needs."""

from __future__ import annotations

from dataclasses import dataclass

from ..kernels.model import Step
from .record import Measurement
from .store import Report, Store

HISTORY_RUNS = 20
"""Runs of a host that say what is usual there: enough for a median, few enough to follow a change of the machine."""


@dataclass(frozen=True)
class Usual:
    """Calm rates of this host's probes in earlier runs; None without history."""

    read_gbs: float | None = None
    multiply_add_gflops: float | None = None


def usual(store: Store, host_key: str) -> Usual:
    """The median ceilings of a host's last runs, which tell a new run whether its whole time is disturbed."""
    report = store.query(
        "SELECT median(read_gbs) AS read_gbs, median(multiply_add_gflops) AS multiply_add_gflops FROM ("
        "SELECT run_id, max(read_gbs) AS read_gbs, max(multiply_add_gflops) AS multiply_add_gflops FROM records "
        "WHERE host_key = ? AND read_gbs IS NOT NULL GROUP BY run_id ORDER BY max(started_at) DESC LIMIT ?)",
        (host_key, HISTORY_RUNS),
    )
    return Usual(**report.found[0]) if report.found else Usual()


def latest(store: Store, step: Step) -> Report[Measurement]:
    """The newest measurement of each call and implementation for a step, from the host that measured it last."""
    asked = "model = ? AND context = ? AND weight_format = ? AND kv_format = ? AND activation_format = ?"
    formats = step.formats
    values = (step.model.name, step.context, formats.weight, formats.kv, formats.activation)
    report = store.read(asked, values)
    if not report.found:
        return report
    host = report.found[-1].host.key
    newest = {(one.subject.label, one.subject.implementation): one for one in report.found if one.host.key == host}
    return Report(list(newest.values()), report.unreadable)
