"""The time of one kernel call from a chip's specification and a few terms; arrays throughout, one element per call.

    gemv              t = start + sqrt(serial^2 + stream^2)
    decode_attention  the same, walking along the context instead of along k
    all_reduce        t = start * (1 + log2 term) + bytes over the link

The root of squares stands for two things that overlap: whichever is longer binds, and near a tie they hinder one another.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float

Calls = Float[np.ndarray, "calls"]

L2_PEAK_BYTES_PER_CLOCK = 64
"""Per streaming multiprocessor: what its port to the L2 cache takes in at most (NVIDIA A100 whitepaper, 2020: 5120 bytes
per clock over the whole chip, 47 for each of its 108; 64 is the width of the port)."""

_CACHE_EDGE = 4.0
_REFERENCE_GHZ = 1.7
_KB = 1024.0


@dataclass(frozen=True)
class Shape:
    """What the calls compute.

    Attributes:
        bytes: streamed from memory, or reduced, per call.
        length: along which one thread block must walk: `k` of a GEMV, the context of attention.
        heads, kv_heads: of attention, else 1.
        n_gpus: of an all-reduce, else 1.
    """

    bytes: Calls
    length: Calls
    heads: Calls
    kv_heads: Calls
    head_dim: Calls
    n_gpus: Calls
    unsplit: Calls

    def __getitem__(self, chosen: np.ndarray) -> Shape:
        return Shape(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


@dataclass(frozen=True)
class Chips:
    """What the calls run on, from the specification.

    Attributes:
        peak_gbs, read_gbs: bandwidth of the main memory, as specified and as a plain read reaches it.
        sm: streaming multiprocessors.
        clock_ghz: their highest clock.
        l2_bytes: L2 cache; 0 where it is not known.
        link_gbs: to other chips, one direction.
        is_switched: chips talk over NVLink rather than over the host's PCIe.
    """

    peak_gbs: Calls
    read_gbs: Calls
    sm: Calls
    clock_ghz: Calls
    l2_bytes: Calls
    link_gbs: Calls
    is_switched: Bool[np.ndarray, "calls"]

    def __getitem__(self, chosen: np.ndarray) -> Chips:
        return Chips(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


Terms = Mapping[str, Calls]
"""Each term's value per call, in its own unit."""


def memory_us(p: Terms, shape: Shape, chips: Chips, eta) -> Calls:
    """Time to stream the bytes, from memory or, where a part of the L2 cache holds them from run to run, from there."""
    held = p["held"] * chips.l2_bytes
    with np.errstate(divide="ignore"):
        hit = 1 / (1 + np.where(held > 0, shape.bytes / np.maximum(held, 1), np.inf) ** _CACHE_EDGE)
    memory_gbs = eta * chips.read_gbs
    cache_gbs = np.maximum(p["cache"] * chips.sm * chips.clock_ghz, memory_gbs)
    return shape.bytes * ((1 - hit) / memory_gbs + hit / cache_gbs) / 1e3


def _clocked(chips: Chips, power) -> Calls:
    return (_REFERENCE_GHZ / chips.clock_ghz) ** power


def gemv_us(p: Terms, shape: Shape, chips: Chips) -> Calls:
    eta = 1 / (1 + p["loss"])
    serial = p["walk"] * shape.length / 1e3 / chips.clock_ghz
    return p["start"] * _clocked(chips, 0.5) + np.sqrt(serial**2 + memory_us(p, shape, chips, eta) ** 2)


def attention_us(p: Terms, shape: Shape, chips: Chips) -> Calls:
    eta = 1 / (1 + p["loss"])
    whole = p["walk"] * shape.length / chips.clock_ghz / 1e3
    # Split over blocks, the walk gets shorter and the reduction over the parts longer; the best split balances the two.
    split = p["split"] * np.sqrt(shape.length / 1e3) / chips.clock_ghz
    serial = np.where(shape.unsplit > 0, whole, split)
    return p["start"] * _clocked(chips, 0.5) + np.sqrt(serial**2 + memory_us(p, shape, chips, eta) ** 2)
