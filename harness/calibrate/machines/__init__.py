"""What the time of a token goes to, by kind of machine: terms with a physical amount and the effects that scale it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from ..runs import Runs
from . import lpu, streaming, wafer
from .term import TERMS, Condition, Effects, prefill

_KINDS = {"wafer": wafer, "lpu": lpu}


@dataclass(frozen=True)
class Anatomy:
    """Runs taken apart.

    Attributes:
        fixed_us: the part of a token's time that nothing scales: never less than the physical floor.
        amount_us: of each term of `TERMS`; together with the fixed part, `amount * exp(effects)` are the time.
        conditions: those that occur.
        condition: which of them, of each run.
    """

    fixed_us: Float[np.ndarray, "runs"]
    amount_us: Float[np.ndarray, "terms runs"]
    conditions: tuple[Condition, ...]
    condition: Int[np.ndarray, "runs"]


def anatomy(runs: Runs) -> Anatomy:
    """Every run's terms, amounts and conditions."""
    fixed, amount = runs.prefill_floor_us.copy(), np.zeros((len(TERMS), len(runs)))
    amount[TERMS.index("prefill")] = runs.prefill_floor_us
    kinds = runs.by_device(lambda device: device.kind)
    is_streaming = ~np.isin(kinds, list(_KINDS))
    for rows, kind in [(is_streaming, streaming), *((kinds == name, module) for name, module in _KINDS.items())]:
        if rows.any():
            part = runs.rows(rows)
            fixed[rows] += streaming.fixed_us(part) if kind is streaming else part.floor_us
            for name, microseconds in kind.amounts_us(part).items():
                amount[TERMS.index(name), rows] = microseconds
    return Anatomy(fixed, amount, *_conditions(runs, is_streaming, amount > 0))


def effects_of(at: Condition) -> Mapping[str, Effects]:
    """Term -> the effects that scale it, for the terms that there are under a condition."""
    found = {**_KINDS.get(at.device.kind, streaming).effects(at), **prefill(at)}
    return {term: found[term] for term in at.terms}


def _conditions(
    runs: Runs, is_streaming: Bool[np.ndarray, "runs"], has: Bool[np.ndarray, "terms runs"]
) -> tuple[tuple[Condition, ...], Int[np.ndarray, "runs"]]:
    # Only where weights stream does it matter how many chips work together.
    width, streams = streaming.widths(runs), np.where(is_streaming, runs.streams, 1)
    present = (1 << np.arange(len(TERMS))) @ has
    sizes = (len(runs.devices), len(runs.engines), len(streaming.WIDTHS), int(streams.max(initial=0)) + 1, 1 << len(TERMS))
    key = np.ravel_multi_index((runs.device, runs.engine, width, streams, present), sizes)
    _, first, place = np.unique(key, return_index=True, return_inverse=True)
    found = tuple(
        Condition(
            runs.devices[runs.device[i]],
            runs.engines[runs.engine[i]],
            streaming.WIDTHS[width[i]],
            int(streams[i]),
            tuple(term for term, is_there in zip(TERMS, has[:, i], strict=True) if is_there),
        )
        for i in first
    )
    return found, place
