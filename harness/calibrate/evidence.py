"""What the stored measurements say, of each call and of the machine: the bridge from records to calibration."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ...kernels.op import Workload
from ..facts.envelope import Envelope, Memory, Quantity
from ..host.host import Host
from ..store.figures import Ceilings
from ..store.record import Measurement


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
    ends = ceilings.cache_end_bytes or host.cache_bytes
    levels = [Memory(name, quantity(gbs), quantity(ends[name] / 1e9)) for name, gbs in caches]
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
