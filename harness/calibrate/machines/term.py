"""A part of a token's time, and the parts that all machines have."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ..effects import Effect
from ..situation import Situation


@dataclass(frozen=True)
class Term:
    """`amount_us * exp(sum of coefficient * effect)`.

    Attributes:
        name: what it is.
        amount_us: what physics and the model's shape say of its size.
        effects: effect -> coefficient.
    """

    name: str
    amount_us: float
    effects: Mapping[Effect, float]


def platform_of(run: Situation) -> str:
    """What the software is written for; a machine without a platform of its own name stands for itself."""
    device = run.device
    return device.platform or (device.name if device.kind in ("gpu", "accelerator") else device.kind)


def common(term: str, run: Situation) -> dict[Effect, float]:
    """The effects that most terms have: base, machine, platform, engine."""
    levels = (("base", ""), ("machine", run.device.name), ("platform", platform_of(run)), ("engine", run.engine.name))
    return {Effect(term, family, level): 1.0 for family, level in levels}


def layer_effects(run: Situation) -> dict[Effect, float]:
    """What scales the time of a layer that no bandwidth shortens."""
    effects = common("layer", run)
    effects[Effect("layer", "memory", run.device.weights_in)] = 1.0
    if run.engine.launches:
        effects[Effect("layer", f"launches {run.engine.launches}")] = 1.0
    if run.engine.early:
        effects[Effect("layer", "early")] = 1.0
    return effects


def layers(run: Situation, widths: float, effects: Mapping[Effect, float]) -> tuple[Term, ...]:
    """Serial latency of the layers, and what their mixtures add to it.

    Args:
        run: the situation.
        widths: size of a layer's latency relative to a typical layer's.
        effects: of the layer's latency.
    """
    plain = Term("layers", run.model.layers * widths, effects)
    if not run.model.mixture_layers:
        return (plain,)
    more = {**effects, Effect("mixture", "base"): 1.0}
    return (plain, Term("mixtures", run.model.mixture_layers * widths, more))


def round_trip(run: Situation) -> Term:
    """What a token waits for once, between its last layer and the next token's first: sampling, and the way out and back.

    Elsewhere it hides behind the weights that stream meanwhile; on machines that keep them in SRAM it is a good part of a
    small model's token.
    """
    return Term("round trip", 1.0, {Effect("token", "base"): 1.0, Effect("token", "engine", run.engine.name): 1.0})


def prefill(run: Situation) -> tuple[Term, ...]:
    """What the prompt costs beyond its floor, where the speed as published counts it."""
    amount_us = run.prefill_floor_us
    if not amount_us:
        return ()
    effects = {Effect("prefill", "base"): 1.0, Effect("prefill", "engine", run.engine.name): 1.0}
    return (Term("prefill", amount_us, effects),)
