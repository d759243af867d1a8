"""The parts of a token's time: what physics says of their sizes, over many runs, and which effects scale them.

Amounts differ from run to run; effects only with the conditions of a run, of which a large grid has few.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ...facts.envelope import Envelope
from ..effects import Effect
from ..engine import Engine
from ..runs import Runs

Amounts = Mapping[str, Float[np.ndarray, "runs"]]
"""Term -> microseconds that physics and the model's shape say of its size; a run's time has `amount * exp(effects)` of it."""

Effects = Mapping[Effect, float]
"""Effect -> coefficient."""

TERMS = (
    "weights",
    "experts",
    "kv",
    "layers",
    "mixtures",
    "all-reduces",
    "all-to-alls",
    "group",
    "hops",
    "round trip",
    "prefill",
)
"""Every term that any machine has."""


@dataclass(frozen=True)
class Condition:
    """What decides which effects act on a run.

    Attributes:
        device, engine: of the run.
        width: of the format's kernels: `16`, `8` or `4`.
        streams: chips that work together.
        terms: those of `TERMS` that the run has any of.
    """

    device: Envelope
    engine: Engine
    width: str
    streams: int
    terms: tuple[str, ...]


def platform_of(device: Envelope) -> str:
    """What the software is written for; a machine without a platform of its own name stands for itself."""
    return device.platform or (device.name if device.kind in ("gpu", "accelerator") else device.kind)


def common(term: str, at: Condition) -> dict[Effect, float]:
    """The effects that most terms have: base, machine, platform, engine."""
    levels = (("base", ""), ("machine", at.device.name), ("platform", platform_of(at.device)), ("engine", at.engine.name))
    return {Effect(term, family, level): 1.0 for family, level in levels}


def layer_effects(at: Condition) -> dict[Effect, float]:
    """What scales the time of a layer that no bandwidth shortens."""
    effects = common("layer", at)
    effects[Effect("layer", "memory", at.device.weights_in)] = 1.0
    if at.engine.launches:
        effects[Effect("layer", f"launches {at.engine.launches}")] = 1.0
    if at.engine.early:
        effects[Effect("layer", "early")] = 1.0
    return effects


def layer_amounts(runs: Runs, widths: float | Float[np.ndarray, "runs"] = 1.0) -> Amounts:
    """Serial latency of the layers, and what their mixtures add to it.

    Args:
        runs: the runs.
        widths: size of a layer's latency relative to a typical layer's.
    """
    return {"layers": runs.layers * widths, "mixtures": runs.by_model(lambda model: model.mixture_layers) * widths}


def layer_terms(effects: Effects) -> Mapping[str, Effects]:
    """The same effects scale a mixture's share, and one of its own."""
    return {"layers": effects, "mixtures": {**effects, Effect("mixture", "base"): 1.0}}


def round_trip(at: Condition) -> Mapping[str, Effects]:
    """What a token waits for once, between its last layer and the next token's first: sampling, and the way out and back.

    Elsewhere it hides behind the weights that stream meanwhile; on machines that keep them in SRAM it is a good part of a
    small model's token.
    """
    return {"round trip": {Effect("token", "base"): 1.0, Effect("token", "engine", at.engine.name): 1.0}}


def prefill(at: Condition) -> Mapping[str, Effects]:
    """What the prompt costs beyond its floor, where the speed as published counts it."""
    return {"prefill": {Effect("prefill", "base"): 1.0, Effect("prefill", "engine", at.engine.name): 1.0}}
