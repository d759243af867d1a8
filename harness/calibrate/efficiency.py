"""How far each measured kernel falls from the physical floor, in two numbers: a start-up time and a fraction."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ...kernels.op import Workload


@dataclass(frozen=True)
class Evidence:
    """One measured kernel.

    Attributes:
        workload: the call.
        low_us, latency_us, high_us: interval and median of its time.
        read_gbs: read bandwidth, the median of the probes beside its samples.
        flops_per_s: arithmetic peak of the machine that measured it, as it was beside its samples.
    """

    workload: Workload
    low_us: float
    latency_us: float
    high_us: float
    read_gbs: float
    flops_per_s: float


@dataclass(frozen=True)
class Efficiency:
    """t = start_us + streamed bytes / (fraction * bandwidth).

    Attributes:
        start_us: time that does not depend on size.
        fraction: of the bandwidth, for the bytes that stream; in (0, 1].
        calls: measurements that it rests on.
    """

    start_us: float
    fraction: float
    calls: int


def fit(evidence: Sequence[Evidence]) -> Mapping[str, Efficiency]:
    """An efficiency per op and weight (or KV) format, from every measurement of it.

    Least squares on relative errors with both terms held non-negative. With one size only the two cannot be told
    apart, and all of the time is put down to the fraction. A kernel that streams nothing is all start-up.
    """
    groups: dict[str, list[Evidence]] = {}
    for one in evidence:
        groups.setdefault(group_of(one.workload), []).append(one)
    return {name: _fit(members) for name, members in groups.items()}


def group_of(workload: Workload) -> str:
    """The kernels that share an efficiency: same op, same formats of what streams."""
    streamed = {tensor.format for tensor in workload.operands().values() if tensor.role in ("weight", "kv")}
    return " ".join([workload.op, *sorted(streamed)])


def _fit(members: Sequence[Evidence]) -> Efficiency:
    latency = np.array([one.latency_us for one in members])
    streamed = np.array([one.workload.cost().streamed_bytes for one in members])
    ideal = streamed / np.array([one.read_gbs for one in members]) / 1e3
    if ideal.max() == 0:
        return Efficiency(float(np.median(latency)), 1.0, len(members))
    # Of the bytes, not of the ideal times: two runs' bandwidths do not make two sizes of one.
    if len(np.unique(streamed)) < 2:
        return Efficiency(0.0, float(min(1.0, np.median(ideal / latency))), len(members))
    # A table that needs no fit must not wait for SciPy.
    from scipy.optimize import nnls

    (start, slope), _ = nnls(np.stack([1 / latency, ideal / latency], axis=1), np.ones(len(members)))
    if slope < 1:
        # No kernel streams faster than the memory reads; what a slope below 1 would gain is noise in the start-up.
        slope, start = 1.0, float(max(0.0, np.median(latency - ideal)))
    return Efficiency(float(start), float(1 / slope), len(members))
