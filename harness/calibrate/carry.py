"""Two rules that carry a measured kernel to another envelope. Where they disagree is part of the answer's doubt."""

from __future__ import annotations

from dataclasses import dataclass

from ...kernels.op import Cost, Workload
from ..facts.envelope import Envelope
from .efficiency import Evidence


@dataclass(frozen=True)
class Carried:
    """A kernel's time on another machine, in microseconds.

    Attributes:
        low_us, point_us, high_us: interval and best estimate; none is below `floor_us`.
        floor_us: the roofline's floor on the target's peaks.
        memory_us: the part of the floor that memory sets; the rest of it is arithmetic.
        start_us: the part of the point that no bandwidth shortens.
    """

    low_us: float
    point_us: float
    high_us: float
    floor_us: float
    memory_us: float
    start_us: float


def scaled_us(latency_us: float, cost: Cost, *, bandwidth_ratio: float, peak_ratio: float, ridge: float) -> float:
    """Envelope scaling with Habitat's blend: t (BW_here / BW_there)^g (F_here / F_there)^(1 - g).

    g = 1 - AI / (2 ridge) for a kernel below the target's ridge point, ridge / (2 AI) above it (Yu et al., "Habitat",
    USENIX ATC 2021, section 3.3), so g is near 1 where memory binds and near 0 where arithmetic does.

    Args:
        latency_us: measured here.
        cost: of the call.
        bandwidth_ratio: there over here.
        peak_ratio: there over here.
        ridge: ridge point of the target in FLOP per byte.
    """
    intensity = cost.intensity
    memory_share = 1 - intensity / (2 * ridge) if intensity <= ridge else ridge / (2 * intensity)
    return latency_us * bandwidth_ratio**-memory_share * peak_ratio ** (memory_share - 1)


def streamed_us(cost: Cost, fraction: float, *, start_us: float, bandwidth_gbs: float) -> float:
    """t0 + bytes / (eta * bandwidth), with eta measured here and t0 the target's own."""
    return start_us + cost.streamed_bytes / (fraction * bandwidth_gbs) / 1e3


def carry(evidence: Evidence, target: Envelope, *, share: float) -> Carried:
    """The kernel on one chip of the target that holds `share` of what streams.

    The point is `streamed_us`, which real kernels follow better than scaling does; the interval spans both rules,
    the sampling interval, and the target's measured against its peak bandwidth.
    """
    cost = _shared(evidence.workload.cost(), share)
    format = compute_format(evidence.workload)
    peak = target.peak_flops(format)
    memory_us = cost.streamed_bytes / target.main.bandwidth_gbs.value / 1e3
    floor_us = max(memory_us, cost.flops / peak * 1e6)
    start_us = _start_us(evidence, target)
    bandwidths = (target.main.best_read_gbs, target.main.bandwidth_gbs.value)
    arithmetic_us = cost.flops / peak * 1e6
    estimates = [
        max(arithmetic_us, streamed_us(cost, evidence.fraction, start_us=start_us, bandwidth_gbs=b)) for b in bandwidths
    ]
    for latency_us in (evidence.low_us, evidence.high_us):
        carried = scaled_us(
            latency_us * share if cost.streamed_bytes else latency_us,
            cost,
            bandwidth_ratio=target.main.best_read_gbs / evidence.read_gbs,
            peak_ratio=peak / evidence.flops_per_s if peak != float("inf") else 1.0,
            ridge=target.ridge_point(format),
        )
        # A kernel that streams nothing does not get faster with bandwidth: it takes a launch.
        estimates.append(max(carried, start_us))
    low, point, high = (max(floor_us, value) for value in (min(estimates), estimates[0], max(estimates)))
    return Carried(low, point, high, floor_us, memory_us, min(start_us, point))


def _start_us(evidence: Evidence, target: Envelope) -> float:
    """The target's own start-up time per kernel, or this machine's where none is known.

    A published time per layer holds the start-up of the layer's kernels already.
    """
    if target.launch_us is not None:
        return target.launch_us.value
    return 0.0 if target.layer_us is not None else evidence.start_us


def compute_format(workload: Workload) -> str:
    """The format that a call's arithmetic peak is looked up by: that of what it streams, else f32."""
    tensors = workload.operands().values()
    streamed = [tensor.format for tensor in tensors if tensor.role in ("weight", "kv")]
    return streamed[0] if streamed else "f32"


def _shared(cost: Cost, share: float) -> Cost:
    reads = {name: size * share if name in cost.streamed else size for name, size in cost.reads.items()}
    return Cost(cost.flops * share if cost.streamed_bytes else cost.flops, reads, cost.writes, cost.streamed)
