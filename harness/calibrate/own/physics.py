"""The time of one call on the machine that measured it, from rates probed beside it and four terms.

    start + (reads^4 + arithmetic^4)^(1/4) + passes over what is in cache

`reads` is what streams over the bandwidth of where it lies, with some loss; `arithmetic` the elements that stream over the
rate of plain multiply-adds: kernels overlap the two, but not wholly. Every op and format has the same form, so few measurements
of one lean on those of the others, and each term is above 0, so that no time is below that of the best read.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Float

from ....kernels.op import Workload
from ..effects import Effect, Prior
from ..kernels.effects import Kernel
from ..kernels.fit import Form
from ..kernels.physics import Terms

CALL = "call"
"""The one op of this form: kernels of all ops share it, and are told apart by their effects."""

TERMS: Mapping[str, Mapping[str, str]] = {
    CALL: {
        "start": "empty compiled calls",
        "loss": "excess over the time of the best read",
        "element": "multiply-add probe's FLOPs per element that streams",
        "pass": "plain reads of what is in cache",
    },
}  # fmt: skip
"""Term -> its unit. Every term is above 0, and fitted as a logarithm."""

_ABOVE_PROBE = 1.06
"""Share of a plain read's speed that the best kernels reach: the probe is a kernel too, and wakes threads of its own."""

_OVERLAP = 4.0
"""Two times that overlap but for their starts and ends: between their sum (1) and the longer of them (infinity)."""


@dataclass(frozen=True)
class Work:
    """What the calls do.

    Attributes:
        streamed: bytes of weights and of the KV cache.
        elements: of the same.
        hot: bytes of everything else, read and written.
        dispatches: of a program, that the time holds too.
    """

    streamed: Float[np.ndarray, "calls"]
    elements: Float[np.ndarray, "calls"]
    hot: Float[np.ndarray, "calls"]
    dispatches: Float[np.ndarray, "calls"]

    def __getitem__(self, chosen: np.ndarray) -> Work:
        """Some of the calls."""
        return Work(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    def in_cache(self) -> Work:
        """The same calls, if nothing streamed: start-up, and passes over what is hot."""
        return replace(self, streamed=0 * self.streamed, elements=0 * self.elements)


@dataclass(frozen=True)
class Rates:
    """What the machine can beside each call.

    Attributes:
        stream_gbs: plain read of what streams, from where it lies.
        near_gbs: plain read of what is hot.
        gflops: multiply-adds.
        dispatch_us: an empty compiled call.
    """

    stream_gbs: Float[np.ndarray, "calls"]
    near_gbs: Float[np.ndarray, "calls"]
    gflops: Float[np.ndarray, "calls"]
    dispatch_us: Float[np.ndarray, "calls"]

    def __getitem__(self, chosen: np.ndarray) -> Rates:
        """The rates beside some of the calls."""
        return Rates(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


def work_of(calls: Sequence[Workload], dispatches: Sequence[float]) -> Work:
    """The work of calls, and the dispatches that their times hold."""
    streamed, elements, hot = np.array([_work(call) for call in calls]).reshape(len(calls), 3).T
    return Work(streamed, elements, hot, np.array(dispatches, float))


def kernel_of(call: Workload) -> Kernel:
    """The op of a call and the formats of what streams: calls that share their terms."""
    streamed = {tensor.format for tensor in call.operands().values() if tensor.role in ("weight", "kv")}
    return Kernel("", call.op, " ".join(sorted(streamed)))


def time_us(terms: Terms, work: Work, rates: Rates) -> Float[np.ndarray, "calls"]:
    """Microseconds per call."""
    reads = floor_us(work, rates) * (1 + terms["loss"])
    arithmetic = work.elements * terms["element"] / rates.gflops / 1e3
    streams = (reads**_OVERLAP + arithmetic**_OVERLAP) ** (1 / _OVERLAP)
    passes = work.hot / rates.near_gbs / 1e3 * terms["pass"]
    return (terms["start"] + work.dispatches) * rates.dispatch_us + streams + passes


def plain_us(work: Work, rates: Rates) -> Float[np.ndarray, "calls"]:
    """Time of a plain read of what streams."""
    return work.streamed / rates.stream_gbs / 1e3


def floor_us(work: Work, rates: Rates) -> Float[np.ndarray, "calls"]:
    """Time that nothing beats: a read of what streams, at the best."""
    return plain_us(work, rates) / _ABOVE_PROBE


def _work(call: Workload) -> tuple[float, float, float]:
    cost, operands = call.cost(), call.operands()
    # Of a table in which a row is looked up, only the row streams.
    elements = sum(operands[name].elements * cost.reads[name] / operands[name].nbytes for name in cost.streamed)
    return cost.streamed_bytes, elements, cost.bytes - cost.streamed_bytes


_BASES: Mapping[str, Prior] = {
    "start": Prior(math.log(0.5), 1.0, "a call from inside a program, whose threads must be woken"),
    "loss": Prior(math.log(0.08), 0.7, "long kernels stream about as fast as a plain read"),
    "element": Prior(math.log(5.0), 0.7, "an element is widened, multiplied and added, by some instructions"),
    "pass": Prior(math.log(5.0), 1.0, "small kernels are written for clarity: some passes over what is in cache"),
}
_OPS: Mapping[str, Prior] = {
    "start": Prior(0.0, 0.8, "ops with threads of their own start several times as slowly as those without"),
    "loss": Prior(0.0, 0.5, "ops read in other orders"),
    "element": Prior(0.0, 0.5, "attention also takes exponentials"),
    "pass": Prior(0.0, 1.5, "a sine costs far more than an add"),
}
_FORMATS: Mapping[str, Prior] = {
    "start": Prior(0.0, 0.2, "the same threads whatever the format"),
    "loss": Prior(0.0, 0.3, "scales lie beside the values"),
    "element": Prior(0.0, 0.7, "unpacking costs by the format"),
    "pass": Prior(0.0, 0.2, "what is in cache has the same format"),
}


def effects_of(op: str, term: str, kernel: Kernel) -> tuple[Effect, ...]:
    """The effects that a term's logarithm is the sum of: a base, the op's own, and its format's."""
    called, format = kernel.engine, kernel.format
    return Effect(term, "base"), Effect(term, "op", called), Effect(term, "op format", f"{called}, {format}")


def prior_of(op: str, effect: Effect) -> Prior:
    """What is believed of an effect before any evidence."""
    return {"base": _BASES, "op": _OPS, "op format": _FORMATS}[effect.family][effect.term]


FORM = Form(TERMS, {CALL: time_us}, effects_of, prior_of)
"""Kernels of one machine, in all formats."""
