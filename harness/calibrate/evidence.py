"""What the stored measurements say of each call: the bridge from records to calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...kernels.op import Workload
from ..record import Measurement
from .efficiency import Evidence


def best(records: Iterable[Measurement]) -> Mapping[Workload, Measurement]:
    """The fastest correct measurement of each call: what this machine can do, whoever computed it."""
    found: dict[Workload, Measurement] = {}
    for record in records:
        if record.statistics is None:
            continue
        workload = record.subject.workload
        rival = found.get(workload)
        if rival is None or rival.statistics is None or record.statistics.latency_us < rival.statistics.latency_us:
            found[workload] = record
    return found


def evidence(records: Mapping[Workload, Measurement]) -> Mapping[Workload, Evidence]:
    """Each call's time with the ceilings that were measured beside it."""
    return {workload: _evidence(workload, record) for workload, record in records.items()}


def _evidence(workload: Workload, record: Measurement) -> Evidence:
    statistics, ceilings = record.statistics, record.ceilings
    if statistics is None or ceilings is None:
        raise ValueError(f"{record.subject.label} has no time: its status is {record.outcome.status}")
    return Evidence(
        workload,
        statistics.latency_low_us,
        statistics.latency_us,
        statistics.latency_high_us,
        read_gbs=ceilings.read_gbs,
        flops_per_s=1e9 * max(ceilings.multiply_add_gflops, *ceilings.matmul_gflops.values()),
    )
