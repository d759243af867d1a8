"""What the time of a token goes to, by kind of machine: terms with a physical amount and the effects that scale it."""

from __future__ import annotations

from ..situation import Situation
from . import lpu, streaming, wafer
from .term import Term, prefill

_KINDS = {"wafer": wafer.terms, "lpu": lpu.terms}


def terms_of(run: Situation) -> tuple[Term, ...]:
    """The overheads of one token; together with what `fixed_us` gives they are its time."""
    return (*_KINDS.get(run.device.kind, streaming.terms)(run), *prefill(run))


def fixed_us(run: Situation) -> float:
    """The part of a token's time that nothing scales: never less than the physical floor."""
    decode_us = run.floor_us if run.device.kind in _KINDS else streaming.fixed_us(run)
    return decode_us + run.prefill_floor_us
