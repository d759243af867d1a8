"""What a call cannot be faster than on this machine, and what binds it."""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.op import Cost
from ..store.figures import Bound

IMPOSSIBLE = 1.10
"""A sample this much faster than the floor at the fastest probe is no measurement: timers and probes err by less."""


@dataclass(frozen=True)
class Floor:
    """The least time of a call on measured ceilings, in microseconds, by what sets it."""

    memory_us: float
    compute_us: float

    @property
    def us(self) -> float:
        """The larger of the two."""
        return max(self.memory_us, self.compute_us)

    def bound(self, dispatch_us: float) -> Bound:
        """What binds the call: memory or arithmetic, or latency where both take less than an empty call does."""
        if self.us < dispatch_us:
            return "latency"
        return "memory" if self.memory_us >= self.compute_us else "compute"


def floor(cost: Cost, *, read_gbs: float, cache_gbs: float, peak_gflops: float) -> Floor:
    """max(streamed bytes / read bandwidth, cached bytes / cache bandwidth, FLOPs / peak), the roofline's floor.

    Williams, Waterman and Patterson, "Roofline", CACM 52(4), 2009, with one memory term per level.

    Args:
        read_gbs: read bandwidth of the level that streamed operands come from.
        cache_gbs: bandwidth of the level that holds what stays in cache.
        peak_gflops: arithmetic peak.
    """
    cached = cost.bytes - cost.streamed_bytes
    memory_us = max(cost.streamed_bytes / read_gbs, cached / cache_gbs) / 1e3
    return Floor(memory_us, cost.flops / peak_gflops / 1e3)
