"""The parameters of the kernel model: each term's logarithm is a base plus random effects that shrink to nothing.

What belongs to an engine and a format carries to other chips; what belongs to a chip, or to one kernel on one chip, does
not, and is what a prediction for an unseen chip is in doubt about.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from ..effects import Effect, Prior


class Kernel(NamedTuple):
    """What a fit tells apart: a chip's device name, an engine, a format, and the routine that the engine calls, if known."""

    chip: str
    engine: str
    format: str
    routine: str = ""


def _base(value: float, sd: float, why: str) -> Prior:
    return Prior(math.log(value), sd, why)


BASES: Mapping[tuple[str, str], Prior] = {
    ("gemv", "start"): _base(3.5, 0.7, "a launch and a memory latency or two"),
    ("gemv", "walk"): _base(1.0, 0.8, "some ten dependent reads of several hundred cycles"),
    ("gemv", "loss"): _base(0.1, 0.5, "GEMV streams nearly as fast as a plain read"),
    ("gemv", "held"): _base(1 / 6, 0.2, "the benchmark takes turns among some six matrices"),
    ("gemv", "cache"): _base(8.0, 0.5, "a few bytes per multiprocessor and clock"),
    ("decode_attention", "start"): _base(10.0, 0.7, "two launches, since a reduction follows"),
    ("decode_attention", "walk"): _base(1.5, 0.8, "as for GEMV"),
    ("decode_attention", "whole"): _base(40.0, 0.5, "two products and a softmax per tile of some ten positions"),
    ("decode_attention", "loss"): _base(0.25, 0.5, "attention kernels stream less well than GEMV"),
    ("decode_attention", "held"): _base(0.8, 0.2, "one cache, read again and again"),
    ("decode_attention", "cache"): _base(8.0, 0.5, "as for GEMV"),
    ("all_reduce", "start"): _base(4.5, 0.6, "two barriers over the links"),
    ("all_reduce", "more"): _base(1.1, 0.05, "barriers among more GPUs take hardly longer"),
    ("all_reduce", "second"): _base(3.5, 0.6, "one more barrier"),
    ("all_reduce", "loss"): _base(0.8, 0.5, "links reach some six tenths of their peak"),
    ("all_reduce", "hop"): _base(2.0, 0.5, "a write over PCI Express and its flag, by way of the host"),
    ("all_reduce", "shared"): _base(2.0, 0.7, "links reach six tenths of their peak, and pairs share the host"),
}  # fmt: skip
"""Op and term -> what is believed before any evidence."""

_SPREADS: Mapping[str, Prior] = {
    "engine": Prior(0.0, 0.4, "engines' kernels differ by a factor of 1.5"),
    "format": Prior(0.0, 0.5, "unpacking and scaling cost by the format"),
    "library": Prior(0.0, 0.5, "an engine calls one library for one thing and another for the next"),
    "engine format": Prior(0.0, 0.8, "which library an engine calls for a format differs most"),
    "chip": Prior(0.0, 0.15, "the specification says nearly all"),
    "kernel": Prior(0.0, 0.25, "tuned for one chip more than for another"),
}
_PHYSICAL = frozenset({"held", "cache", "more"})
"""Terms that only the chip and the benchmark decide, the same in every format."""


def effects_of(op: str, term: str, kernel: Kernel) -> tuple[Effect, ...]:
    """The effects that a term's logarithm is the sum of."""
    common = (Effect(term, "base"), Effect(term, "engine", kernel.engine), Effect(term, "chip", kernel.chip))
    if term in _PHYSICAL:
        return common
    called = f"{kernel.engine}, {kernel.routine}" if kernel.routine else kernel.engine
    library = (Effect(term, "library", called),) if kernel.routine else ()
    both = f"{called}, {kernel.format}"
    return (
        *common,
        *library,
        Effect(term, "format", kernel.format),
        Effect(term, "engine format", both),
        Effect(term, "kernel", f"{kernel.chip}, {both}"),
    )


def prior_of(op: str, effect: Effect) -> Prior:
    """What is believed of an effect before any evidence."""
    return BASES[op, effect.term] if effect.family == "base" else _SPREADS[effect.family]
