"""An LPU: a static pipeline over so many chips that their SRAM holds the model."""

from __future__ import annotations

import math

from ..effects import Effect
from ..situation import Situation
from .term import Term, layer_effects, round_trip


def terms(run: Situation) -> tuple[Term, ...]:
    """Latency of the layers, of the hops among the chips that share one, and a round trip.

    A token passes the layers one by one. A layer whose weights exceed one chip's SRAM is split, and its partial sums
    meet in a tree: one more hop per doubling of the chips.
    """
    capacity_gb = run.device.capacity_gb or math.inf
    chips_per_layer = max(1.0, run.resident_gb / run.model.layers / capacity_gb)
    effects = {**layer_effects(run), Effect("layer", "kind", "lpu"): 1.0}
    hop = {Effect("hop", "base"): 1.0, Effect("hop", "machine", run.device.name): 1.0}
    return (
        Term("layers", float(run.model.layers), effects),
        Term("hops", run.model.layers * math.log2(chips_per_layer), hop),
        round_trip(run),
    )
