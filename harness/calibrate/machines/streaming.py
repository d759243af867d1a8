"""Machines whose weights stream from memory: GPUs, CPUs, TPUs, Apple's chips, SN40L's sockets."""

from __future__ import annotations

import math

from ..effects import Effect
from ..situation import Situation
from .term import Term, common, layer_effects, layers

_NODE_CHIPS = 8
"""GPUs that one NVLink or xGMI domain joins, as in HGX and DGX nodes."""


def terms(run: Situation) -> tuple[Term, ...]:
    """Streaming below peak bandwidth, layers, all-reduces and the group's bookkeeping."""
    return (*_streaming(run), *layers(run, 1.0, layer_effects(run)), *_tensor_parallel(run))


def format_class(weight_bits: float) -> str:
    """Kernels come in three widths, whatever the scales add to them."""
    return "16" if weight_bits > 10 else "8" if weight_bits > 6.5 else "4"


def fixed_us(run: Situation) -> float:
    """Time at peak bandwidth, with the cache split over no more chips than it has heads."""
    return _weights_us(run) + _kv_us(run)


def _weights_us(run: Situation) -> float:
    traffic = run.weight_bytes
    if run.engine.widens_weights and run.weight_bits < 16:
        # Each narrow weight is also written and read at 16 bits.
        traffic += run.weight_bytes * 32 / run.weight_bits
    return traffic / _bytes_per_us(run, run.streams)


def _kv_us(run: Situation) -> float:
    return run.kv_bytes / _bytes_per_us(run, run.kv_streams)


def _bytes_per_us(run: Situation, chips: int) -> float:
    return chips * run.device.main.bandwidth_gbs.value * 1e3


def _streaming(run: Situation) -> tuple[Term, ...]:
    width, engine = format_class(run.weight_bits), run.engine.name
    effects = common("stream", run) | {
        Effect("stream", "format", width): 1.0,
        Effect("stream", "engine format", f"{engine}, {width}"): 1.0,
    }
    routed = run.expert_bytes / run.weight_bytes
    found = [Term("weights", _weights_us(run) * (1 - routed), effects)]
    if routed:
        found.append(Term("experts", _weights_us(run) * routed, {**effects, Effect("stream", "mixture"): 1.0}))
    return (*found, Term("kv", _kv_us(run), {Effect("kv", "base"): 1.0}))


def _tensor_parallel(run: Situation) -> tuple[Term, ...]:
    """Two all-reduces a layer (Shoeybi et al., arXiv:1909.08053), and what a group of processes waits for each step."""
    if run.streams < 2:
        return ()
    doublings = math.log2(run.streams)
    effects = common("reduce", run)
    effects[Effect("reduce", "chips")] = doublings - 1
    node = run.device.node_chips.value if run.device.node_chips else _NODE_CHIPS
    if run.device.kind == "gpu" and run.streams > node:
        effects[Effect("reduce", "nodes")] = 1.0
    group = {Effect("group", "base"): 1.0, Effect("group", "engine", run.engine.name): 1.0}
    return (Term("all-reduces", 2.0 * run.model.layers, effects), Term("group", doublings, group))
