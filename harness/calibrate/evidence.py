"""What the stored measurements say, of each call and of the machine: the bridge from records to calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np

from ...kernels.op import Workload
from ..envelope import Envelope, Memory, Quantity
from ..figures import Ceilings
from ..host import Host
from ..record import Measurement
from .carry import compute_format
from .efficiency import Evidence


def best(records: Iterable[Measurement]) -> Mapping[Workload, Measurement]:
    """The fastest correct measurement of each call by our own code: what our step takes on this machine."""
    found: dict[Workload, Measurement] = {}
    for record in records:
        if record.statistics is None or record.subject.is_peer:
            continue
        workload = record.subject.workload
        rival = found.get(workload)
        if rival is None or rival.statistics is None or record.statistics.latency_us < rival.statistics.latency_us:
            found[workload] = record
    return found


def evidence(records: Mapping[Workload, Measurement]) -> Mapping[Workload, Evidence]:
    """Each call's time with the ceilings that were measured beside it."""
    return {workload: _evidence(workload, record) for workload, record in records.items()}


def envelope_of(ceilings: Ceilings, host: Host, measured_at: str) -> Envelope:
    """The machine that was measured, as an envelope of the same type as those from datasheets.

    Args:
        ceilings: its limits.
        host: what it is.
        measured_at: ISO 8601 time.
    """

    def quantity(value: float) -> Quantity:
        return Quantity(value, source="roofcast bench", date=measured_at[:10], basis="measured")

    # Cache levels are listed from the fastest: what a level delivers is measured, so an outer one may come out ahead.
    caches = sorted(ceilings.cache_read_gbs.items(), key=lambda level: -level[1])
    memory = Memory(
        "memory",
        quantity(max(ceilings.read_gbs, ceilings.copy_gbs, ceilings.triad_gbs)),
        quantity((host.memory_limit_bytes or host.memory_bytes) / 1e9),
        read_gbs=quantity(ceilings.read_gbs),
        copy_gbs=quantity(ceilings.copy_gbs),
        triad_gbs=quantity(ceilings.triad_gbs),
    )
    levels = [Memory(name, quantity(gbs), quantity(host.cache_bytes[name] / 1e9)) for name, gbs in caches]
    tiers = sorted([*levels, memory], key=lambda tier: -tier.bandwidth_gbs.value)
    peaks = dict(ceilings.matmul_gflops)
    peaks["f32"] = max(peaks.get("f32", 0.0), ceilings.multiply_add_gflops)
    return Envelope(
        "this machine",
        "cpu" if host.backend in ("", "cpu") else "gpu" if host.backend == "gpu" else "accelerator",
        tuple(tiers),
        "memory",
        peak_tflops={name: quantity(gflops / 1e3) for name, gflops in peaks.items()},
        multiply_add_tflops=quantity(ceilings.multiply_add_gflops / 1e3),
        launch_us=quantity(ceilings.dispatch_us),
    )


def _evidence(workload: Workload, record: Measurement) -> Evidence:
    statistics, ceilings, timing = record.statistics, record.ceilings, record.timing
    if statistics is None or ceilings is None or timing is None:
        raise ValueError(f"{record.subject.label} has no time: its status is {record.outcome.status}")
    # The probes beside the very samples that the statistics rest on: the machine has drifted since its ceilings were taken.
    used = np.array(timing.calm) if statistics.disturbance == 0 else np.ones(len(timing.calm), bool)
    read_gbs = float(np.median(np.array(timing.read_probe_gbs)[used]))
    arithmetic = float(np.median(np.array(timing.multiply_add_probe_gflops)[used])) / ceilings.multiply_add_gflops
    return Evidence(
        workload,
        statistics.latency_low_us,
        statistics.latency_us,
        statistics.latency_high_us,
        read_gbs=read_gbs,
        flops_per_s=arithmetic * envelope_of(ceilings, record.host, record.started_at).peak_flops(compute_format(workload)),
    )
