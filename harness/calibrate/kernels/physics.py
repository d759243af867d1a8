"""The time of one kernel call from a chip's specification and a few terms; one array element per call.

    gemv              start + serial + stream
    decode_attention  start + serial + stream
    all_reduce        start + bytes over the links, for the faster of two ways, or hops around a ring over PCI Express

`start` is launch, prologue and the latency of the first bytes. `serial` is the walk along k or along the context. A kernel
splits it over blocks and adds up their parts: with s blocks that takes a / s + b s cycles, at best 2 sqrt(a b), and a grows
with the length, so the walk costs cycles that grow with the square root of the length.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Shaped

from .chips import Chips
from .rows import Rows

Calls = Float[np.ndarray, "calls"]
Terms = Mapping[str, Calls]
"""Term -> its value per call, in the unit that `TERMS` says."""

TERMS: Mapping[str, Mapping[str, str]] = {
    "gemv": {
        "start": "us at 1.7 GHz",
        "walk": "thousand cycles for k of 1024",
        "loss": "excess over the time of a plain read; efficiency is 1 / (1 + loss)",
        "held": "share of the L2 cache that a matrix must fit to stay there from run to run",
        "cache": "bytes per multiprocessor and clock from the L2 cache",
    },
    "decode_attention": {
        "start": "us at 1.7 GHz",
        "walk": "thousand cycles for a context of 1024 at a head of 128, split over blocks",
        "whole": "cycles per position at a head of 128, where one block walks the whole context",
        "loss": "excess over the time of a plain read",
        "held": "share of the L2 cache that keys and values must fit to stay there from run to run",
        "cache": "bytes per multiprocessor and clock from the L2 cache",
    },
    "all_reduce": {
        "start": "us over two GPUs at 1.7 GHz",
        "more": "power of half the GPUs that the start grows with, plus 1",
        "second": "us at 1.7 GHz for the second round of a two-shot all-reduce, per doubling of the GPUs",
        "loss": "excess over the time at the links' peak",
        "hop": "us per hop around a ring over PCI Express",
        "shared": "excess over the time at the peak of PCI Express, per pair of GPUs on one host",
    },
}  # fmt: skip
"""Op -> term -> its unit. Every term is above 0, and fitted as a logarithm."""

REFERENCE_GHZ = 1.7
_CLOCK_POWER = 0.5
"""About half of a start is latency in the memory and the host, which the cores' clock does not shorten."""

_EDGE = 12.0
"""Bytes that just exceed the cache evict one another in turn, so the hits end abruptly."""

_UNSPLIT_SEEN_ON = "L40S"

_PORT_BYTES = 64.0
"""A multiprocessor's port to the L2 cache, bytes per clock (NVIDIA A100 whitepaper, 2020: L2 read 5120 bytes a clock)."""


@dataclass(frozen=True)
class Work:
    """What the calls do.

    Attributes:
        bytes: streamed, or reduced per GPU.
        length: that is walked along: k, or the context.
        head_dim: values per head.
        n_gpus: that take part.
        is_whole: one block walks the whole context of its head.
    """

    bytes: Calls
    length: Calls
    head_dim: Calls
    n_gpus: Calls
    is_whole: Bool[np.ndarray, "calls"]

    def __getitem__(self, chosen: np.ndarray) -> Work:
        """Some of the calls."""
        return Work(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


def work_of(rows: Rows, chips: Chips, hidden: str = "") -> Work:
    """The work of measured rows.

    Args:
        rows: of one op.
        chips: they run on.
        hidden: a device whose measurements are not to be known.
    """
    length = np.where(rows.op == "gemv", rows.k, rows.context)
    return Work(rows.bytes, length, rows.head_dim, rows.n_gpus, is_whole(rows, chips, hidden))


def is_whole(rows: Rows, chips: Chips, hidden: str = "") -> Bool[np.ndarray, "rows"]:
    """Whether one block walks a head's whole context.

    FlashAttention 2 splits a context only where several query heads share a key-value head (`mha_varlen_fwd` in its
    `flash_api.cpp` sets splits where it can swap the groups of a grouped query into the sequence).

    TensorRT-LLM's grouped attention over an fp8 cache on Ada is not split either: that is known from the L40S alone, whose
    times grow with the context whatever the heads are, at FlashAttention 2's cycles per position.
    """
    library = libraries(rows, chips)
    whole = (library == FLASH_ATTENTION_2) & (rows.heads == rows.kv_heads)
    if hidden != _UNSPLIT_SEEN_ON:
        whole |= (library == XQA) & (rows.kv_dtype == "fp8") & (chips.architecture == "ada")
    return whole


FLASH_ATTENTION_2, FLASH_ATTENTION_3, FLASH_INFER = "FlashAttention 2", "FlashAttention 3", "FlashInfer"
XQA, MASKED = "XQA", "masked multi-head"


def libraries(rows: Rows, chips: Chips) -> Shaped[np.ndarray, "rows"]:
    """Which library an engine's attention comes from; empty for other ops and engines.

    vLLM calls FlashAttention 3 on Hopper, and elsewhere FlashAttention 2, or FlashInfer for fp8 caches and on data-centre
    Blackwell (vLLM's documentation, attention backends). TensorRT-LLM has its XQA kernels for grouped queries and a masked
    multi-head kernel for the others (its documentation, "Multi-Head, Multi-Query and Group-Query Attention").
    """
    vllm = np.select(
        [chips.architecture == "hopper", (chips.architecture == "blackwell") | (rows.kv_dtype == "fp8")],
        [FLASH_ATTENTION_3, FLASH_INFER],
        FLASH_ATTENTION_2,
    )
    trtllm = np.where(rows.heads == rows.kv_heads, MASKED, XQA)
    attention = rows.op == "decode_attention"
    return np.select([attention & (rows.framework == "vllm"), attention & (rows.framework == "trtllm")], [vllm, trtllm], "")


def gemv_us(terms: Terms, work: Work, chips: Chips) -> Calls:
    """Microseconds of a matrix times a vector."""
    serial = terms["walk"] * np.sqrt(work.length / 1024) / chips.clock_ghz
    return terms["start"] * _slowness(chips) + serial + _stream_us(terms, work, chips)


def attention_us(terms: Terms, work: Work, chips: Chips) -> Calls:
    """Microseconds of one token's attention over a context."""
    share = work.head_dim / 128
    split = terms["walk"] * np.sqrt(work.length / 1024 * share)
    whole = terms["whole"] * work.length / 1e3 * share
    serial = np.where(work.is_whole, whole, split) / chips.clock_ghz
    return terms["start"] * _slowness(chips) + serial + _stream_us(terms, work, chips)


def all_reduce_us(terms: Terms, work: Work, chips: Chips) -> Calls:
    """Microseconds until every GPU has the sum.

    Over NVLink the faster of two ways: every GPU reads all others' vectors (one shot, n - 1 of them), or sums a share
    and reads the others' sums (two shots, 2 (n - 1) / n). Over PCI Express a ring of 2 (n - 1) hops.
    """
    n, size_us = work.n_gpus, work.bytes / chips.link_gbs / 1e3
    start = terms["start"] * _slowness(chips) * (n / 2) ** (terms["more"] - 1)
    lost = 1 + terms["loss"]
    one = (n - 1) * size_us * lost
    shares = 2 * (n - 1) / n * size_us
    two = terms["second"] * np.log2(n) * _slowness(chips) + shares * lost
    ring = 2 * (n - 1) * terms["hop"] + shares * (1 + terms["shared"] * n / 2)
    return np.where(chips.is_switched, start + np.minimum(one, two), ring)


TIMES: Mapping[str, Callable[[Terms, Work, Chips], Calls]] = {
    "gemv": gemv_us,
    "decode_attention": attention_us,
    "all_reduce": all_reduce_us,
}
"""Op -> its time."""


def floor_us(op: str, work: Work, chips: Chips) -> Calls:
    """Time that nothing beats: bytes over the peak of the memory, or of the L2 cache where they fit it; of the link."""
    if op == "all_reduce":
        return work.bytes / chips.link_gbs / 1e3
    cached = work.bytes <= chips.l2_bytes
    return work.bytes / np.where(cached, _PORT_BYTES * chips.sm * chips.clock_ghz, chips.peak_gbs) / 1e3


def _stream_us(terms: Terms, work: Work, chips: Chips) -> Calls:
    """Time to stream the bytes: from the L2 cache as far as they are held there from the run before, else from memory."""
    held = np.maximum(terms["held"] * chips.l2_bytes, 1.0)
    hits = 1 / (1 + np.minimum(work.bytes / held, 1e6) ** _EDGE)
    memory_gbs = chips.read_gbs / (1 + terms["loss"])
    cache_gbs = ((terms["cache"] * chips.sm * chips.clock_ghz) ** 4 + memory_gbs**4) ** 0.25
    return work.bytes * ((1 - hits) / memory_gbs + hits / cache_gbs) / 1e3


def _slowness(chips: Chips) -> Calls:
    return (REFERENCE_GHZ / chips.clock_ghz) ** _CLOCK_POWER
