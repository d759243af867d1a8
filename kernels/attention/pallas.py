"""Decode attention on a GPU: the context is cut into chunks, and all queries of a group share the rows that are loaded.

Each chunk gives a query its largest score, the sum of 2^(score - largest), and the values weighted by these powers;
the chunks of a head are then combined, as in flash decoding (arXiv:2311.01282). Block sizes were not measured on a GPU yet.

A matrix unit multiplies at least 16 rows, so queries of a group are padded to 16. That costs tensor operations, of which
a step that waits for memory has plenty. The other way, products in float32 outside the matrix units, grows with the
group: at 8 queries per cached head the products alone would take 40 % of an H100's float32 rate (67 TFLOP/s) to keep up
with its memory (3.35 TB/s). Matrix units see no float32: a query is the sum of three bfloat16, and a weight is the sum
of two, which is 2^-16 off at the most.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial, reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Float32

from .. import triton
from ..blocks import block_size
from ..formats import format_named
from ..formats.base import PerRow, Plain
from ..op import implementation
from ..thirds import thirds
from ..triton import pl
from .workload import Attention

PROGRAMS = 264
"""Programs that there should be at the least: two on each of an H100's 132 multiprocessors."""
TILE_BYTES = 16384
"""Keys that a program holds at a time. With as many values, and the next ones on their way, that fits in shared memory."""
LEAST_TOKENS, MOST_TOKENS = 16, 128
LEAST_QUERIES, MOST_QUERIES = 16, 64
MIXED_ELEMENTS = 8192
"""Sums of values that a program holds: 64 registers of each of 128 threads."""
WARPS = 4
STAGES = 2
_LOG2_E = math.log2(math.e)


@dataclass(frozen=True)
class Chunking:
    """How a call is cut: `queries` of a group per program, `tokens` per iteration, `steps` iterations per chunk."""

    queries: int
    tokens: int
    steps: int


def chunking(workload: Attention, itemsize: int) -> Chunking:
    """The longest chunks, and tiles in them, that leave `PROGRAMS` programs, for a cache of so many bytes per element."""
    group = workload.heads // workload.kv_heads
    fitting = max(LEAST_QUERIES, MIXED_ELEMENTS // triton.power_of_two(workload.value_dim))
    queries = min(fitting, MOST_QUERIES, max(LEAST_QUERIES, triton.power_of_two(group)))
    tokens = block_size("attention_tile_bytes", TILE_BYTES) // (triton.power_of_two(workload.head_dim) * itemsize)
    tokens = max(LEAST_TOKENS, min(MOST_TOKENS, tokens, triton.power_of_two(workload.context)))
    programs_per_chunk = workload.kv_heads * -(-group // queries)
    while tokens > LEAST_TOKENS and -(-workload.context // tokens) * programs_per_chunk < PROGRAMS:
        tokens //= 2
    steps = -(-workload.context // tokens) * programs_per_chunk // PROGRAMS
    return Chunking(queries, tokens, max(1, steps))


def spans(width: int) -> tuple[tuple[int, int], ...]:
    """A width as (start, extent) of powers of two of at least 16, widest first: 576 is 512 and 64, and nothing is padded."""
    rounded, start, found = -(-width // 16) * 16, 0, []
    while start < rounded:
        extent = 1 << ((rounded - start).bit_length() - 1)
        found.append((start, extent))
        start += extent
    return tuple(found)


def _multiplied_as(cached: Any) -> Any:
    """What matrix units are given of a cache: bfloat16 holds each number of 8 bits, and float16 only fits float32."""
    return jnp.bfloat16 if cached == jnp.bfloat16 or cached.itemsize == 1 else jnp.float32


def _columns(cache: Any, head: Any, first: Any, tokens: int, context: int | None, span: tuple[int, int]) -> Array:
    """Some columns of a tile of cached rows; zeros beyond the context and beyond the width."""
    start, extent = span
    width, shape = cache.shape[-1], (tokens, extent)
    # JAX lets a slice reach beyond an array only if its start is not a plain number.
    tile = triton.load(
        cache.at[head, pl.ds(first, tokens), pl.ds(jnp.int32(start), extent)],
        triton.inside(first, shape, 0, context),
        triton.inside(start, shape, 1, width if start + extent > width else None),
    )
    return tile.astype(_multiplied_as(cache.dtype))


def _sum(terms: Iterable[Array]) -> Array:
    return reduce(operator.add, terms)


def _dot(parts: list[Array], right: Array) -> Float32[Array, "rows columns"]:
    """The sum of the parts, times a matrix of their dtype."""
    exact = lax.Precision.HIGHEST if right.dtype == jnp.float32 else None
    return _sum(jnp.dot(part, right, precision=exact, preferred_element_type=jnp.float32) for part in parts)


def _parts(weights: Float32[Array, "rows tokens"], dtype: Any) -> list[Array]:
    """Weights for products with values of a dtype."""
    if dtype == jnp.float32:
        return [weights]
    # Cut off rather than rounded, because a compiler may drop a conversion to bfloat16 and back.
    bits = lax.bitcast_convert_type(weights, jnp.uint32) & jnp.uint32(0xFFFF0000)
    high = lax.bitcast_convert_type(bits, jnp.float32)
    return [high.astype(dtype), (weights - high).astype(dtype)]


def _body(
    workload: Attention,
    cut: Chunking,
    query: Any,
    cached: Any,
    scales: Any,
    bias: Any,
    mixed_out: Any,
    peak_out: Any,
    total_out: Any,
) -> None:
    """One program: some queries of one cached head, over one chunk of the context."""
    unit, chunk = pl.program_id(0), pl.program_id(1)
    head = unit // (query.shape[1] // workload.kv_heads)
    in_keys, in_values = spans(workload.head_dim), spans(workload.value_dim)
    context = workload.context if workload.context % (cut.tokens * cut.steps) else None
    queries = [[query[part, unit, :, start : start + extent] for part in range(query.shape[0])] for start, extent in in_keys]

    def step(index: Any, state: tuple[Any, ...]) -> tuple[Any, ...]:
        peak, total, *mixed = state
        first = (chunk * cut.steps + index) * cut.tokens
        tokens, inside = pl.ds(first, cut.tokens), triton.inside(first, (cut.queries, cut.tokens), 1, context)

        def tiles(of: Any, widths: tuple[tuple[int, int], ...]) -> list[Array]:
            return [_columns(of, head, first, cut.tokens, context, span) for span in widths]

        def scale(of: Any) -> Float32[Array, "1 tokens"]:
            return triton.load(of.at[head, tokens], triton.inside(first, (cut.tokens,), 0, context))[None]

        scores = _sum(_dot(parts, tile.T) for parts, tile in zip(queries, tiles(cached[0], in_keys), strict=True))
        if scales:
            scores *= scale(scales[0])
        if workload.softcap:
            scores = jnp.tanh(scores) * (workload.softcap * _LOG2_E)
        if bias is not None:
            scores += triton.load(bias.at[unit, :, tokens], inside)
        if inside is not None:
            scores = jnp.where(inside, scores, -jnp.inf)
        highest = jnp.maximum(peak, scores.max(1))
        weights, faded = jnp.exp2(scores - highest[:, None]), jnp.exp2(peak - highest)
        total = total * faded + weights.sum(1)
        if scales:
            weights *= scale(scales[1])
        parts = _parts(weights, _multiplied_as(cached[1].dtype))
        products = [_dot(parts, tile) for tile in tiles(cached[1], in_values)]
        return highest, total, *(old * faded[:, None] + new for old, new in zip(mixed, products, strict=True))

    # A chunk's first token is inside the context, so the highest score is finite from the first step on.
    empty = [jnp.zeros((cut.queries, extent), jnp.float32) for _, extent in in_values]
    start = jnp.full((cut.queries,), -jnp.inf, jnp.float32), jnp.zeros((cut.queries,), jnp.float32), *empty
    peak, total, *mixed = lax.fori_loop(0, cut.steps, step, start)
    peak_out[chunk, unit] = peak
    total_out[chunk, unit] = total
    for (start, extent), sums in zip(in_values, mixed, strict=True):
        mixed_out[chunk, unit, :, pl.ds(start, extent)] = sums


def _refuses(workload: Attention) -> str | None:
    if not isinstance(format_named(workload.kv_format), Plain | PerRow):
        return f"kv_format must have one number per element; got {workload.kv_format}"
    return triton.unreadable(workload)


@implementation(backends=("gpu",), priority=-1, refuses=_refuses, missing=triton.unusable)
def flash_decode(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Any,
    values: Any = None,
    sinks: Float32[Array, "heads"] | None = None,
    **bias: Float32[Array, "heads ..."],
) -> Float[Array, "heads value_dim"]:
    """Keys and values are read once, as they are packed; a scale of a row multiplies its score, or its weight.

    Not measured on a GPU yet, and so not the default where XLA computes the format.
    """
    stored = [keys, keys if values is None else values]
    cached = [packed["values"] if isinstance(packed, dict) else packed for packed in stored]
    cut = chunking(workload, cached[0].dtype.itemsize)
    group = workload.heads // workload.kv_heads
    blocks = pl.cdiv(group, cut.queries)
    units, chunks = workload.kv_heads * blocks, pl.cdiv(workload.context, cut.tokens * cut.steps)

    def by_unit(per_head: Float[Array, "heads columns"], width: int) -> Float32[Array, "units queries width"]:
        grouped = per_head.astype(jnp.float32).reshape(workload.kv_heads, group, -1)
        padding = ((0, 0), (0, blocks * cut.queries - group), (0, width - per_head.shape[1]))
        return jnp.pad(grouped, padding).reshape(units, cut.queries, width)

    def result(*axes: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((chunks, units, cut.queries, *axes), jnp.float32)

    # Scores are exponents of two, a power that a GPU has an instruction for; what is capped becomes one after the cap.
    scale = workload.scale * (1 / workload.softcap if workload.softcap else _LOG2_E)
    scaled = by_unit(query.astype(jnp.float32) * scale, sum(spans(workload.head_dim)[-1]))
    mixed, peak, total = triton.call(
        partial(_body, workload, cut),
        jnp.stack((scaled,) if _multiplied_as(cached[0].dtype) == jnp.float32 else thirds(scaled)),
        cached,
        [packed["scales"][..., 0] for packed in stored if isinstance(packed, dict)],
        by_unit(workload.added(**bias) * _LOG2_E, workload.context) if bias else None,
        grid=(units, chunks),
        results=(result(sum(spans(workload.value_dim)[-1])), result(), result()),
        warps=block_size("attention_warps", WARPS),
        stages=block_size("attention_stages", STAGES),
    )
    highest = peak.max(0)
    share = jnp.exp2(peak - highest)
    total = (total * share).sum(0)
    if sinks is not None:
        total += jnp.exp2(by_unit(sinks[:, None] * _LOG2_E, 1)[..., 0] - highest)
    out = (mixed * share[..., None]).sum(0) / total[..., None]
    out = out.reshape(workload.kv_heads, -1, out.shape[-1])[:, :group, : workload.value_dim]
    return out.reshape(workload.heads, workload.value_dim).astype(query.dtype)
