"""What a check finds, and the arithmetic that most of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ...kernels.model import Model
from ..calibrate.ranges import Range
from ..calibrate.traffic import active_parameters, traffic
from ..facts.envelope import Envelope
from ..predict.answer import Answer, Ask, answers
from ..words import figure

Given = Mapping[str, Any]

BITS: Mapping[int, str] = {16: "bf16", 8: "int8", 4: "int4"}
"""Bits of a weight and the format that stands for them; scales are left aside, in the claim's favour."""

AT_BITS = "at " + " / ".join(map(str, BITS)) + " bits"


@dataclass(frozen=True)
class Finding:
    """What became of a claim.

    Attributes:
        allows: what figures and physics say.
        predicts: what the decode model says, with its interval; empty where there is nothing to predict.
        verdict: in words, the outcome first.
        least: the bits or devices that would make it true; empty where nothing would, or nothing must.
        figures: what was computed, by name, units in the name.
    """

    allows: str
    verdict: str
    predicts: str = ""
    least: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)


def weights_read(model: Model) -> int:
    """Weights that a token reads."""
    return active_parameters(model)


def weights_held(model: Model) -> int:
    """Weights that must be in memory."""
    held = traffic(model)
    return held.resident_experts + held.resident_body + held.resident_vocabulary


def gigabytes(weights: float, bits: float) -> float:
    """Decimal GB of so many weights."""
    return weights * bits / 8e9


def capacity_gb(device: Envelope) -> float:
    """Of the main memory; every machine that a claim names has one of known size."""
    if device.capacity_gb is None:
        raise ValueError(f"the memory of {device.name} must have a known size")
    return device.capacity_gb


def bandwidth_gbs(device: Envelope) -> float:
    """Peak of the main memory."""
    return device.main.bandwidth_gbs.value


def link_gbs(device: Envelope) -> float:
    """Of the external link; every wafer has one."""
    if device.external_link_gbs is None:
        raise ValueError(f"the external link of {device.name} must be known")
    return device.external_link_gbs.value


def at_each(model: Model, device: Envelope, devices: int | None = None, **more: Any) -> dict[int, Answer]:
    """Bits of a weight -> prediction."""
    return dict(zip(BITS, answers([ask(model, device, bits, devices, **more) for bits in BITS]), strict=True))


def ask(model: Model, device: Envelope, bits: int, devices: int | None = None, **more: Any) -> Ask:
    """The question for a model at some bits a weight, the context as far as the model was made for."""
    context = min(2048, model.max_context)
    return Ask(model, device, weight=BITS[bits], weight_bits=bits, devices=devices, context=context, **more)


def said(given: Range | None, unit: str = "tok/s") -> str:
    """`779 (569 to 1,066) tok/s`."""
    if given is None:
        return "unknown"
    return f"{figure(given.point)} ({figure(given.low)} to {figure(given.high)}) {unit}"


def row(values: Sequence[float]) -> str:
    """`0.430 / 0.859 / 1.72`."""
    return " / ".join(map(figure, values))


def counts(values: Sequence[int]) -> str:
    """`9 / 5 / 3`."""
    return " / ".join(f"{value:,}" for value in values)


def plain(value: float) -> str:
    """A figure as its source gives it: `44`, `3.35`."""
    return f"{value:,.6g}"


def by_bits(name: str, values: Sequence[float]) -> dict[str, float]:
    """Figures under `NAME_at_16_bits` and so on."""
    return {f"{name}_at_{bits}_bits": value for bits, value in zip(BITS, values, strict=True)}


def equal(stated: float, known: float) -> bool:
    """Whether two figures agree to the two digits that an article gives."""
    return abs(stated / known - 1) < 0.01
