"""What each measured call reaches of this machine, by the fit of all of its kernels: what is carried to others."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from ....kernels.op import Workload
from ...store.record import Measurement
from ..carry import compute_format
from ..efficiency import Evidence
from ..evidence import envelope_of
from ..kernels.fit import predict
from .calibration import Own
from .evidence import beside, calls_of
from .physics import plain_us


def evidence(records: Mapping[Workload, Measurement]) -> Mapping[Workload, Evidence]:
    """Each call's time, with the ceilings that were measured beside it and its efficiency.

    Whole steps and other calls that no step is made of are left out.

    Args:
        records: of one machine, each with a time.
    """
    kernels = {workload: record for workload, record in records.items() if workload.is_kernel}
    if not kernels:
        return {}
    own = Own.of(list(kernels.values()))
    # Start-up and efficiency are the code's own: a program's dispatch belongs to how it was measured.
    calls = calls_of(
        list(kernels),
        [beside(one) for one in kernels.values()],
        [one.timing.pool_bytes if one.timing else 0.0 for one in kernels.values()],
        [0.0] * len(kernels),
    )
    whole_us = predict(calls, own.fit).time_us
    start_us = predict(replace(calls, work=calls.work.in_cache()), own.fit).time_us
    streams = calls.work.streamed > 0
    # A kernel that reads faster than our probe is not carried as one that beats another machine's memory.
    share = plain_us(calls.work, calls.chips) / np.where(streams, whole_us - start_us, 1.0)
    fraction = np.where(streams, np.minimum(share, 1.0), 1.0)
    return {
        workload: _evidence(record, start, share)
        for (workload, record), start, share in zip(kernels.items(), start_us.tolist(), fraction.tolist(), strict=True)
    }


def _evidence(record: Measurement, start_us: float, fraction: float) -> Evidence:
    statistics, ceilings, workload = record.statistics, record.ceilings, record.subject.workload
    if statistics is None or ceilings is None:
        raise ValueError(f"{record.subject.label} has no time: its status is {record.outcome.status}")
    now = beside(record)
    peak = envelope_of(ceilings, record.host, record.started_at).peak_flops(compute_format(workload))
    return Evidence(
        workload,
        statistics.latency_low_us,
        statistics.latency_us,
        statistics.latency_high_us,
        read_gbs=now.read_gbs,
        flops_per_s=now.gflops / ceilings.multiply_add_gflops * peak,
        start_us=start_us,
        fraction=fraction,
    )
