"""What is known of a measured kernel when it is carried elsewhere: its time, and how far from the floor its code is."""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.op import Workload


@dataclass(frozen=True)
class Evidence:
    """One measured kernel: t = start_us + streamed bytes / (fraction * bandwidth).

    Attributes:
        workload: the call.
        low_us, latency_us, high_us: interval and median of its time.
        read_gbs: read bandwidth, the median of the probes beside its samples.
        flops_per_s: arithmetic peak of the machine that measured it, as it was beside its samples.
        start_us: time that no bandwidth shortens, by the fit of the machine's kernels.
        fraction: of the bandwidth that its code reaches while it streams, by the same fit; in (0, 1].
    """

    workload: Workload
    low_us: float
    latency_us: float
    high_us: float
    read_gbs: float
    flops_per_s: float
    start_us: float = 0.0
    fraction: float = 1.0
