"""A wafer: weights stay in SRAM beside the cores, and a token waits for the mesh, layer after layer."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..effects import Effect
from ..runs import Runs
from .term import Amounts, Condition, Effects, layer_amounts, layer_effects, layer_terms, round_trip

_WIDTH = 4096
"""d_model at which the hops across the mesh and the vectors that travel it take as long as each other."""


def amounts_us(runs: Runs) -> Amounts:
    """Latency of the layers, and a round trip.

    A layer's product of matrix and vector broadcasts its input along the rows of a square of P cores and reduces its
    output along the columns: sqrt(P) hops, plus the words that each hop passes on, which grow with d_model (the PLMR model of
    WaferLLM, arXiv:2502.04563, section 4). Both halves are of one size at d_model 4096. Reading the weights takes a
    hundredth of that, and more wafers only add one hop each.
    """
    widths = (1 + runs.by_model(lambda model: model.d_model) / _WIDTH) / 2
    return {**layer_amounts(runs, widths), "round trip": np.ones(len(runs))}


def effects(at: Condition) -> Mapping[str, Effects]:
    """What scales them."""
    return {**layer_terms({**layer_effects(at), Effect("layer", "kind", "wafer"): 1.0}), **round_trip(at)}
