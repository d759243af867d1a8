"""Random effects, and the parameters of the decode model: logarithms of overheads, a base plus effects that shrink to nothing.

A term of the step's time is `amount * exp(sum of effects)`. Every effect has a normal prior: the base of a term says what is
typical before any evidence, the others (a machine's, an engine's) say how far such things differ from one another. What
no evidence speaks of keeps its prior, which is how an unseen chip or engine gets the mean and a wide interval.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple


class Effect(NamedTuple):
    """One parameter.

    Attributes:
        term: the part of the time that it acts on.
        family: what it belongs to: `base`, `machine`, `platform`, `engine`, `chip`, `format`, ...
        level: which machine, which engine, ...; empty where there is one only.
    """

    term: str
    family: str
    level: str = ""


@dataclass(frozen=True)
class Prior:
    """Normal prior of an effect on a logarithm.

    Attributes:
        mean, sd: before any evidence.
        why: what the figures rest on.
    """

    mean: float
    sd: float
    why: str


UNITS: Mapping[str, str] = {
    "stream": "log of the excess over the time at peak bandwidth; efficiency is 1 / (1 + exp)",
    "kv": "log of the excess over the time at peak bandwidth",
    "layer": "log us per layer",
    "mixture": "log of what a mixture layer adds, on top of the effects of layer",
    "reduce": "log us per all-reduce over two chips",
    "group": "log us per step and doubling of chips",
    "hop": "log us per layer and doubling of the chips that share it",
    "token": "log us per token, on machines that keep weights in SRAM",
    "prefill": "log of the excess over the time at the arithmetic peak",
}
"""Term -> what its parameters are."""

_BASES: Mapping[tuple[str, str], Prior] = {
    ("stream", "base"): Prior(-1.5, 1.0, "efficiency 0.82, as of large bf16 GEMV on A100, H100 and L40S"),
    ("stream", "mixture"): Prior(0.0, 0.5, "experts are streamed like other weights"),
    ("kv", "base"): Prior(-0.7, 1.0, "efficiency 0.67, attention kernels below GEMV"),
    ("layer", "base"): Prior(4.0, 3.0, "55 us, some ten kernels of a few us; wide, since engines differ tenfold"),
    ("layer", "kind"): Prior(0.0, 1.2, "machines that keep weights in SRAM have no kernels to launch"),
    ("layer", "launches eager"): Prior(1.5, 0.6, "some twenty launches a layer of 10 to 20 us each, from Python"),
    ("layer", "launches kernels"): Prior(0.0, 0.7, "hand-written kernels without a graph"),
    ("layer", "launches one"): Prior(-1.2, 0.5, "barriers, no launches: hazyresearch.stanford.edu/blog/2025-05-27-no-bubbles"),
    ("layer", "early"): Prior(0.4, 0.5, "software gets faster: services soon surpass what they first publish"),
    ("mixture", "base"): Prior(-0.7, 0.7, "routing and two more kernels: half a layer's overhead"),
    ("reduce", "base"): Prior(2.3, 0.7, "10 us, small all-reduces over NVLink"),
    ("reduce", "chips"): Prior(0.2, 0.3, "per doubling of the chips"),
    ("reduce", "nodes"): Prior(1.0, 0.5, "over InfiniBand rather than NVLink"),
    ("reduce", "exchange"): Prior(0.0, 0.7, "an all-to-all of one token takes about as long as an all-reduce of it"),
    ("group", "base"): Prior(5.5, 1.2, "0.25 ms, processes of a group that wait for one another"),
    ("hop", "base"): Prior(1.5, 0.7, "a few us, links between chips and reduction"),
    ("token", "base"): Prior(4.0, 1.0, "55 us: a token leaves the mesh, is sampled and comes back as an embedding"),
    ("prefill", "base"): Prior(0.0, 0.7, "half of the arithmetic peak"),
}  # fmt: skip

_SPREADS: Mapping[str, Prior] = {
    "machine": Prior(0.0, 0.45, "chips differ by a factor of 1.6 where engines do not"),
    "platform": Prior(0.0, 0.7, "CUDA, ROCm, Metal and the others"),
    "memory": Prior(0.0, 0.5, "chips with HBM are clocked lower and wait longer for a small read than those with GDDR"),
    "engine": Prior(0.0, 0.6, "engines differ by a factor of two on one chip"),
    "group engine": Prior(0.0, 0.8, "engines handle groups in quite different ways"),
    "format": Prior(0.0, 0.5, "4, 8 and 16 bits a weight"),
    "engine format": Prior(0.0, 0.4, "an engine's kernels for one format"),
}


def prior_of(effect: Effect) -> Prior:
    """What is believed of an effect before any evidence.

    Raises:
        KeyError: if there is no such family.
    """
    own = _BASES.get((effect.term, effect.family))
    if own is not None:
        return own
    if (effect.term, effect.family) == ("group", "engine"):
        return _SPREADS["group engine"]
    return _SPREADS[effect.family]
