"""A decode step on a machine: does it fit, how long does it take, what binds it, how sure are we."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from ...kernels.model import Model
from ...kernels.op import Need, Workload
from ..calibrate.carry import carry
from ..calibrate.efficiency import Evidence
from ..facts.envelope import Envelope
from ..steps.workloads import resident_bytes
from ..store.figures import Bound


@dataclass(frozen=True)
class Prediction:
    """One line of the throughput table.

    Attributes:
        target: name of the machine, with the count where it is more than one.
        devices: chips that share the step.
        basis: what the figures rest on: `measured`, or how they were carried.
        needed_gb, capacity_gb: weights and KV cache, and the memory there is for them.
        refusal: why there are no figures; empty where there are.
        tpot_low_us, tpot_us, tpot_high_us: time per output token.
        bound: what most of the time goes to.
        parts_us: microseconds per op of the point estimate, collectives and serial latency included.
        notes: what a reader must know to trust the line.
    """

    target: str
    devices: int
    basis: str
    needed_gb: float
    capacity_gb: float | None
    refusal: str = ""
    tpot_low_us: float = 0.0
    tpot_us: float = 0.0
    tpot_high_us: float = 0.0
    bound: Bound = "memory"
    parts_us: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    @property
    def tokens_per_s(self) -> tuple[float, float, float]:
        """Low, point and high decode throughput at batch 1."""
        low, point, high = (1e6 / us if us else math.inf for us in (self.tpot_high_us, self.tpot_us, self.tpot_low_us))
        return low, point, high


def measured_here(
    needs: Sequence[Need],
    evidence: Mapping[Workload, Evidence],
    bounds: Mapping[Workload, Bound],
    capacity_gb: float | None,
) -> Prediction:
    """The step on the machine that measured it: the sum of its kernels, each as often as a token needs it."""
    called = [need for need in needs if need.count]
    blank = Prediction("this machine", 1, "measured, sum of kernels", resident_bytes(needs) / 1e9, capacity_gb)
    if capacity_gb is not None and blank.needed_gb > capacity_gb:
        return replace(blank, refusal=f"does not fit: {blank.needed_gb:.1f} GB in {capacity_gb:.1f} GB")
    missing = sorted({need.workload.op for need in called if need.workload not in evidence})
    if missing:
        return replace(blank, refusal=f"not measured: {', '.join(missing)}")
    parts: dict[str, float] = {}
    by_bound: dict[Bound, float] = {}
    low = high = 0.0
    for need in called:
        one = evidence[need.workload]
        time_us = need.count * one.latency_us
        low, high = low + need.count * one.low_us, high + need.count * one.high_us
        parts[need.workload.op] = parts.get(need.workload.op, 0.0) + time_us
        by_bound[bounds[need.workload]] = by_bound.get(bounds[need.workload], 0.0) + time_us
    return replace(
        blank,
        tpot_low_us=low,
        tpot_us=sum(parts.values()),
        tpot_high_us=high,
        bound=max(by_bound, key=lambda name: by_bound[name]),
        parts_us=parts,
    )


def carried(
    needs: Sequence[Need], evidence: Mapping[Workload, Evidence], target: Envelope, devices: int, model: Model
) -> Prediction:
    """The step on `devices` chips of a machine that is not here, tensor-parallel where there are several.

    What does not fit the chips' memory is refused, not computed through. A tensor-parallel step waits for an all-reduce
    after attention and after the feed-forward of each layer (Shoeybi et al., Megatron-LM, arXiv:1909.08053). A machine
    with a published serial latency per layer is never faster than its layers.
    """
    name = target.name if devices == 1 else f"{devices}x {target.name}"
    needed_gb = resident_bytes(needs) / 1e9
    capacity_gb = target.capacity_gb * devices if target.capacity_gb else None
    blank = Prediction(name, devices, _basis(target), needed_gb, capacity_gb)
    called = [need for need in needs if need.count]
    missing = sorted({need.workload.op for need in called if need.workload not in evidence})
    refusal = _refusal(target, devices, needed_gb, missing)
    if refusal:
        return replace(blank, refusal=refusal)
    parts: dict[str, float] = {}
    low = high = floor = memory = waiting = 0.0
    for need in called:
        time = carry(evidence[need.workload], target, share=need.workload.share(devices))
        low, high = low + need.count * time.low_us, high + need.count * time.high_us
        floor, memory = floor + need.count * time.floor_us, memory + need.count * time.memory_us
        waiting += need.count * time.start_us
        parts[need.workload.op] = parts.get(need.workload.op, 0.0) + need.count * time.point_us
    notes = []
    if devices > 1 and target.allreduce_us:
        wait, count = target.allreduce_us, reduces_per_layer(model) * model.layers
        parts["all-reduce"] = count * wait.value
        low, high = low + count * (wait.low or wait.value), high + count * (wait.high or wait.value)
        notes.append(f"{reduces_per_layer(model)} all-reduces a layer at {wait.value:g} us ({wait.basis}: {wait.source})")
    if target.layer_us:
        serial = target.layer_us
        # The published layer time holds the kernels too: only what exceeds them is added.
        parts["layer latency"] = max(0.0, model.layers * serial.value - sum(parts.values()))
        low = max(low, model.layers * (serial.low or serial.value))
        high = max(high, model.layers * (serial.high or serial.value))
        notes.append(f"{serial.value:g} us a layer ({serial.basis}: {serial.source})")
    elif target.launch_us is None:
        notes.append("start-up per kernel as on this machine, for none is known of it")
    point = sum(parts.values())
    waiting += parts.get("all-reduce", 0.0) + parts.get("layer latency", 0.0)
    bound: Bound = "latency" if waiting > point / 2 else "memory" if 2 * memory >= floor else "compute"
    return replace(
        blank,
        tpot_low_us=min(low, point),
        tpot_us=point,
        tpot_high_us=max(high, point),
        bound=bound,
        parts_us=parts,
        notes=tuple(notes),
    )


def reduces_per_layer(model: Model) -> int:
    """All-reduces that one layer of a tensor-parallel step waits for: one per residual add."""
    if model.parallel_block:
        return 1
    return 3 if model.family == "encoder-decoder" else 2


def _refusal(target: Envelope, devices: int, needed_gb: float, missing: Sequence[str]) -> str:
    if target.capacity_gb is None:
        return "the size of its memory is not known"
    if needed_gb > target.capacity_gb * devices:
        least = -(-needed_gb // target.capacity_gb)
        return f"does not fit: {needed_gb:.1f} GB in {target.capacity_gb * devices:g} GB; needs {least:.0f} devices"
    if devices > 1 and target.allreduce_us is None:
        return "several of it cannot be predicted: no all-reduce latency is known"
    if target.node_chips and devices > target.node_chips.value:
        return f"its all-reduce latency is known within a node of {target.node_chips.value:g} only"
    return f"not measured here: {', '.join(missing)}" if missing else ""


def _basis(target: Envelope) -> str:
    carried = "carried from this machine's kernels"
    return f"{carried}, layers from published speeds" if target.layer_us else f"{carried}, specification"
