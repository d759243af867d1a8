"""Machines whose weights stream from memory: GPUs, CPUs, TPUs, Apple's chips, SN40L's sockets."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from jaxtyping import Float, Int

from ..effects import Effect
from ..runs import Runs
from .term import Amounts, Condition, Effects, common, layer_amounts, layer_effects, layer_terms

WIDTHS = ("4", "8", "16")
"""Kernels come in three widths, whatever the scales add to them."""

_NODE_CHIPS = 8
"""GPUs that one NVLink or xGMI domain joins, as in HGX and DGX nodes."""


def widths(runs: Runs) -> Int[np.ndarray, "runs"]:
    """Which of `WIDTHS`, of each run."""
    return (runs.weight_bits > 6.5).astype(np.int64) + (runs.weight_bits > 10)


def fixed_us(runs: Runs) -> Float[np.ndarray, "runs"]:
    """Time at peak bandwidth, with the cache split over no more chips than it has heads."""
    return _weights_us(runs) + _kv_us(runs)


def amounts_us(runs: Runs) -> Amounts:
    """Streaming below peak bandwidth, layers, all-reduces or all-to-alls, and the group's bookkeeping.

    Two all-reduces a layer (Shoeybi et al., arXiv:1909.08053), and what a group of processes waits for each step. Expert
    parallel, none, but two all-to-alls in each mixture: tokens are dispatched to the chips of their experts, and what those
    computed is combined (DeepSeek-V3, arXiv:2412.19437, section 3.4).
    """
    weights_us, routed = _weights_us(runs), runs.expert_bytes * runs.expert_share / runs.chip_bytes
    together, mixtures = runs.streams > 1, runs.by_model(lambda model: model.mixture_layers)
    return {
        "weights": weights_us * (1 - routed),
        "experts": weights_us * routed,
        "kv": _kv_us(runs),
        **layer_amounts(runs),
        "all-reduces": np.where(together & ~runs.expert_parallel, 2.0 * runs.layers, 0.0),
        "all-to-alls": np.where(runs.expert_parallel, 2.0 * mixtures, 0.0),
        "group": np.where(together, np.log2(runs.streams), 0.0),
    }


def effects(at: Condition) -> Mapping[str, Effects]:
    """What scales them."""
    stream = common("stream", at) | {
        Effect("stream", "format", at.width): 1.0,
        Effect("stream", "engine format", f"{at.engine.name}, {at.width}"): 1.0,
    }
    found: dict[str, Effects] = {
        "weights": stream,
        "experts": {**stream, Effect("stream", "mixture"): 1.0},
        "kv": {Effect("kv", "base"): 1.0},
        **layer_terms(layer_effects(at)),
    }
    if at.streams > 1:
        reduce = common("reduce", at)
        reduce[Effect("reduce", "chips")] = math.log2(at.streams) - 1
        node = at.device.node_chips.value if at.device.node_chips else _NODE_CHIPS
        if at.device.kind == "gpu" and at.streams > node:
            reduce[Effect("reduce", "nodes")] = 1.0
        found["all-reduces"] = reduce
        found["all-to-alls"] = {**reduce, Effect("reduce", "exchange"): 1.0}
        found["group"] = {Effect("group", "base"): 1.0, Effect("group", "engine", at.engine.name): 1.0}
    return found


def _weights_us(runs: Runs) -> Float[np.ndarray, "runs"]:
    # Where an engine widens them, each narrow weight is also written and read at 16 bits.
    widened = runs.by_engine(lambda engine: engine.widens_weights) & (runs.weight_bits < 16)
    read = runs.chip_bytes
    return np.where(widened, read + read * 32 / runs.weight_bits, read) / (runs.bandwidth_gbs * 1e3)


def _kv_us(runs: Runs) -> Float[np.ndarray, "runs"]:
    return runs.kv_bytes / (runs.kv_streams * runs.bandwidth_gbs * 1e3)
