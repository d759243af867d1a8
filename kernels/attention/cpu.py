"""Decode attention on a CPU: every cached row is read once for all queries that share it.

The context is split into chunks, so that all threads are busy even with one cached head. A chunk gives each
query its largest score, the sum of e^(score - largest), and the values weighted by these powers; the chunks of a
head are then combined, as in flash decoding (arXiv:2311.01282).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Float32, Num

from ..ffi import LANES, PAIR, Kernel, helper, kernel, lanes, unit_of, unusable, vectors
from ..formats import format_named
from ..formats.base import PerRow
from ..op import implementation
from ..plain import refusal
from . import adjust
from .workload import Attention

CHUNK_BYTES = 2**19
"""Keys and values of a chunk: they fit a second-level cache, from where further queries of the group read them."""
LEAST_CHUNKS, LEAST_TOKENS, MOST_TOKENS = 32, 64, 1024
"""A call is split into so many chunks at least, unless that makes them shorter than `LEAST_TOKENS`."""
RUN = 16
"""Values that are summed up in registers before the sums go back to memory. The columns of a longer run would not be
read in the order in which they lie in memory, and wait for it."""
TOGETHER = 4
"""Keys that are read side by side, and share what is loaded of the queries: as many as leave their sums in registers."""
AHEAD = 4096
"""Elements between what is computed on and what is asked for: two pages of bfloat16. There is so much to compute for each
cached row that the CPU does not come to ask for the next ones in time by itself."""


@cache
def _attend(queries: int, *, scaled: bool, capped: bool, biased: bool) -> Kernel:
    """Makes the kernel that takes so many queries of a group at a time, 1 or 4. The plain one pays nothing for the others.

    Lane `t * queries + q` of a vector of scores belongs to token t and query q.
    """
    tokens = LANES // queries
    room = queries * MOST_TOKENS
    room_for_scales = room if scaled else LANES
    spread = adjust.spread(queries) if scaled else adjust.no_spread
    rescaled = adjust.scaled if scaled else adjust.as_they_are
    pair, several = 2 * queries, TOGETHER * queries
    squashed = adjust.squashed if capped else adjust.as_they_are
    moved = adjust.biased if biased else adjust.as_they_are

    @helper
    def products(query, rows, keys, token, last):
        """For each of `TOGETHER` tokens and each query a vector whose lanes add up to its score, but for columns that make no
        whole pair.
        """
        sums = vectors.filled(0, several)
        some = lanes.rows_apart(token, 1, last, TOGETHER, 1)
        ahead = token + AHEAD // keys.shape[1]
        later = lanes.rows_apart(ahead, 1, ahead + TOGETHER, TOGETHER, 1)
        for column in range(0, keys.shape[1] // PAIR * PAIR, PAIR):
            lanes.prefetch_pairs(keys, later, column, 1)
            part = lanes.load_pairs(keys, some, column, 1)
            sums = vectors.add_pair_products(sums, part, lanes.load_pairs(query, rows, column, 1))
        return sums

    @helper
    def last_products(query, rows, keys, token, last):
        """The columns that `products` leaves out. Together, they would push its sums out of their registers."""
        column = keys.shape[1] // PAIR * PAIR
        part = lanes.load_last_pairs(keys, lanes.rows_apart(token, 1, last, TOGETHER, 1), column)
        return vectors.add_pair_products(vectors.filled(0, several), part, lanes.load_pairs(query, rows, column, 1))

    score_tile, score_tile_end = (_tile(tokens, function) for function in (products, last_products))

    @helper
    def score(scores, query, rows, keys, key_scales, value_scales, bias, softcap, first, count):
        """Fills a chunk's scores with e^(score - largest), times the values' scales; returns the sum of the powers and the
        largest score, per lane.
        """
        largest = vectors.filled(-math.inf, 1)
        for t in range(0, count, tokens):
            found = vectors.sums(score_tile(query, rows, keys, first + t, first + count - 1))
            if keys.shape[1] % PAIR:
                found = found + vectors.sums(score_tile_end(query, rows, keys, first + t, first + count - 1))
            found = squashed(rescaled(found, key_scales, t * queries), softcap)
            found = moved(found, bias, (first + t) * queries)
            largest = vectors.larger(found, largest)
            lanes.store(scores, t * queries, found)
        largest = vectors.largest_of_every(largest, queries)
        # The last vector may have scored the last token more than once.
        for index in range(count * queries, (count + tokens - 1) // tokens * LANES):
            scores[index] = -math.inf
        total = vectors.filled(0, 1)
        for index in range(0, count * queries, LANES):
            powers = vectors.exp(lanes.load(scores, index) - largest)
            total = total + powers
            lanes.store(scores, index, rescaled(powers, value_scales, index))
        return total, largest

    @helper
    def mix(mixed, rows, scores, values, first, count):
        """Sums up a chunk's values, weighted by `scores`."""
        whole = min(values.shape[1] // PAIR * PAIR, mixed.shape[1])
        twos = whole // (2 * PAIR) * (2 * PAIR)
        for column in range(0, mixed.shape[1], PAIR):
            lanes.store_pairs(mixed, rows, column, vectors.filled(0, pair))
        for start in range(0, count, RUN):
            stop = min(start + RUN, count)
            for column in range(0, twos, 2 * PAIR):
                sums = lanes.load_pairs(mixed, rows, column, 2)
                for t in range(start, stop):
                    lanes.prefetch_pairs(values, (first + t + AHEAD // values.shape[1],), column, 2)
                    weights = lanes.load_splats(scores, t * queries, 1, queries)
                    sums = vectors.add_products(sums, weights, lanes.load_pairs(values, (first + t,), column, 2))
                lanes.store_pairs(mixed, rows, column, sums)
            for column in range(twos, mixed.shape[1], PAIR):
                sums = lanes.load_pairs(mixed, rows, column, 1)
                for t in range(start, stop):
                    weights = lanes.load_splats(scores, t * queries, 1, queries)
                    if column < whole:
                        part = lanes.load_pairs(values, (first + t,), column, 1)
                    else:
                        part = lanes.load_last_pairs(values, (first + t,), column)
                    sums = vectors.add_products(sums, weights, part)
                lanes.store_pairs(mixed, rows, column, sums)

    def attend(start, stop, query, keys, values, key_scales, value_scales, bias, total, largest, mixed, chunk, softcap):
        scores, of_keys, of_values = lanes.scratch(room), lanes.scratch(room_for_scales), lanes.scratch(room_for_scales)
        chunks = (keys.shape[1] + chunk - 1) // chunk
        for part in range(start, stop):
            head, first = part // chunks, part % chunks * chunk
            count = min(chunk, keys.shape[1] - first)
            spread(of_keys, key_scales[head], first, count)
            spread(of_values, value_scales[head], first, count)
            for number in range(query.shape[1] // queries):
                rows = lanes.rows_apart(number * queries, 0, query.shape[1], 1, queries)
                added = bias[head, number]
                sums, peaks = score(scores, query[head], rows, keys[head], of_keys, of_values, added, softcap, first, count)
                lanes.store(total[part, number], 0, sums)
                lanes.store(largest[part, number], 0, peaks)
                mix(mixed[part], rows, scores, values[head], first, count)

    attend.__name__ = f"attend_{queries}{'_scaled' * scaled}{'_capped' * capped}{'_biased' * biased}"
    return kernel(attend)


def _tile(tokens: int, function: Callable[..., Any]) -> Callable[..., Any]:
    """The vectors of so many tokens, 4 or 16, by a function that gives those of `TOGETHER`."""
    if tokens == TOGETHER:
        return function

    @helper
    def tile(query, rows, keys, token, last):
        return vectors.joined(
            function(query, rows, keys, token, last),
            function(query, rows, keys, token + TOGETHER, last),
            function(query, rows, keys, token + 2 * TOGETHER, last),
            function(query, rows, keys, token + 3 * TOGETHER, last),
        )

    return tile


@helper
def _add_scaled(out, row, weight, mixed, query):
    for column in range(0, out.shape[1], PAIR):
        sums = lanes.load_pairs(out, (row,), column, 1)
        sums = vectors.add_products(sums, vectors.filled(weight, 1), lanes.load_pairs(mixed, (query,), column, 1))
        lanes.store_pairs(out, (row,), column, sums)


@kernel
def combine(start, stop, total, largest, mixed, values, sinks, out, queries):
    """Brings together the chunks of the queries [start, stop), each with its sink."""
    group = mixed.shape[1]
    chunks = mixed.shape[0] // values.shape[0]
    for row in range(start, stop):
        first, number, query = row // group * chunks, row % group // queries, row % queries
        peak = sinks[row]
        for chunk in range(first, first + chunks):
            peak = max(peak, largest[chunk, number, query])
        sums = math.exp(sinks[row] - peak)
        for column in range(0, out.shape[1], PAIR):
            lanes.store_pairs(out, (row,), column, vectors.filled(0, 2))
        for chunk in range(first, first + chunks):
            weight = math.exp(largest[chunk, number, query] - peak)
            for index in range(query, LANES, queries):
                sums += weight * total[chunk, number, index]
            _add_scaled(out, row, weight, mixed[chunk], row % group)
        for column in range(0, out.shape[1], PAIR):
            part = lanes.load_pairs(out, (row,), column, 1)
            mean = vectors.add_products(vectors.filled(0, 2), vectors.filled(1 / sums, 1), part)
            lanes.store_pairs(out, (row,), column, lanes.consecutive(mean, values))


def _refuses(workload: Attention) -> str | None:
    if isinstance(format_named(workload.kv_format), PerRow):
        return None
    return refusal(workload)


_Cache = Float[Array, "kv_heads context width"] | dict[str, Num[Array, "kv_heads context _"]]


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: _Cache,
    values: _Cache | None = None,
    sinks: Float32[Array, "heads"] | None = None,
    **bias: Float32[Array, "heads ..."],
) -> Float[Array, "heads value_dim"]:
    """Keys and values are widened to float32 in registers; scores, powers and sums are float32. Scales of tokens multiply
    scores and powers.
    """
    heads, group = workload.kv_heads, workload.heads // workload.kv_heads
    (cached_keys, key_scales), (cached_values, value_scales) = (
        _parts(one) for one in (keys, keys if values is None else values)
    )
    queries = 1 if group == 1 else 4
    padded = -(-group // queries) * queries
    width = -(-workload.value_dim // PAIR) * PAIR
    chunk = _chunk_tokens(workload, cached_keys.dtype.itemsize)
    units = heads * -(-workload.context // chunk)
    asked = query.astype(jnp.float32).reshape(heads, group, -1) * (workload.scale * unit_of(cached_keys.dtype))

    def shape(*extents: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(extents, jnp.float32)

    partial = _attend(queries, scaled=isinstance(keys, dict), capped=workload.softcap > 0, biased=bool(bias))(
        _in_load_order(asked, padded, cached_keys.dtype),
        cached_keys,
        cached_values,
        key_scales,
        value_scales,
        _in_lane_order(workload.added(**bias), heads, padded, queries) if bias else jnp.zeros((heads, padded // queries, 1)),
        results=(shape(units, padded // queries, LANES), shape(units, padded // queries, LANES), shape(units, padded, width)),
        units=units,
        chunk=chunk,
        softcap=float(workload.softcap),
    )
    # A head without a sink has one of no weight.
    sunk = jnp.full((heads, group), -jnp.inf, jnp.float32) if sinks is None else sinks.reshape(heads, group)
    sunk = jnp.pad(sunk, ((0, 0), (0, padded - group))).ravel()
    out = combine(*partial, cached_values, sunk, results=shape(heads * padded, width), units=heads * padded, queries=queries)
    out = out.reshape(heads, padded, width)[:, :group, : workload.value_dim]
    return (out.reshape(workload.heads, workload.value_dim) * unit_of(cached_values.dtype)).astype(query.dtype)


def _parts(cache: _Cache) -> tuple[Num[Array, "kv_heads context width"], Float32[Array, "kv_heads scales"]]:
    """Stored numbers and the scales of their tokens, of which there are none where each number is its own."""
    if isinstance(cache, dict):
        return cache["values"], cache["scales"][..., 0]
    return cache, jnp.zeros((cache.shape[0], 1), jnp.float32)


def _chunk_tokens(workload: Attention, itemsize: int) -> int:
    row = workload.head_dim + (0 if workload.shared_values else workload.value_dim)
    by_bytes = max(LEAST_TOKENS, min(MOST_TOKENS, CHUNK_BYTES // (row * itemsize)))
    by_count = max(LEAST_TOKENS, -(-workload.kv_heads * workload.context // LEAST_CHUNKS))
    return min(by_bytes, by_count)


def _in_load_order(
    query: Float[Array, "kv_heads group head_dim"], rows: int, cache: jnp.dtype
) -> Float[Array, "kv_heads rows width"]:
    """The queries padded to whole tiles, and in the order in which rows of the cache are loaded. See `lanes`."""
    _, group, head_dim = query.shape
    query = jnp.pad(query, ((0, 0), (0, rows - group), (0, -head_dim % PAIR)))
    if cache not in (jnp.bfloat16, jnp.float8_e4m3fn):
        return query
    pairs = query.reshape(*query.shape[:2], -1, LANES, 2)
    return pairs.swapaxes(-1, -2).reshape(query.shape)


def _in_lane_order(
    bias: Float32[Array, "heads context"], kv_heads: int, rows: int, queries: int
) -> Float32[Array, "kv_heads tiles lanes"]:
    """What is added to the scores, in the order in which a tile's scores are made, to be loaded past the last token."""
    _, context = bias.shape
    bias = bias.reshape(kv_heads, -1, context)
    bias = jnp.pad(bias, ((0, 0), (0, rows - bias.shape[1]), (0, LANES)))
    return bias.reshape(kv_heads, -1, queries, context + LANES).swapaxes(2, 3).reshape(kv_heads, rows // queries, -1)
