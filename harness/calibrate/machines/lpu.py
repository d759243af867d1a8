"""An LPU: a static pipeline over so many chips that their SRAM holds the model."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from ..effects import Effect
from ..runs import Runs
from .term import Amounts, Condition, Effects, layer_effects, round_trip


def amounts_us(runs: Runs) -> Amounts:
    """Latency of the layers, of the hops among the chips that share one, and a round trip.

    A token passes the layers one by one. A layer whose weights exceed one chip's SRAM is split, and its partial sums
    meet in a tree: one more hop per doubling of the chips.
    """
    capacity_gb = runs.by_device(lambda device: device.capacity_gb or math.inf)
    chips_per_layer = np.maximum(1.0, runs.resident_gb / runs.layers / capacity_gb)
    return {
        "layers": runs.layers * 1.0,
        "hops": runs.layers * np.log2(chips_per_layer),
        "round trip": np.ones(len(runs)),
    }


def effects(at: Condition) -> Mapping[str, Effects]:
    """What scales them."""
    return {
        "layers": {**layer_effects(at), Effect("layer", "kind", "lpu"): 1.0},
        "hops": {Effect("hop", "base"): 1.0, Effect("hop", "machine", at.device.name): 1.0},
        **round_trip(at),
    }
