"""Decode attention on a CPU: every cached row is read once for all queries that share it.

The context is split into chunks, so that all threads are busy even with one cached head. A chunk gives each
query its largest score, the sum of e^(score - largest), and the values weighted by these powers; the chunks of a
head are then combined, as in flash decoding (arXiv:2311.01282).
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..ffi import LANES, PAIR, Kernel, helper, kernel, lanes, unusable, vectors
from ..op import implementation
from ..plain import refusal
from .workload import Attention

CHUNK_BYTES = 2**18
"""Keys and values of a chunk: they fit a second-level cache, from where further queries of the group read them."""
LEAST_CHUNKS, LEAST_TOKENS, MOST_TOKENS = 32, 64, 1024
"""A call is split into so many chunks at least, unless that makes them shorter than `LEAST_TOKENS`."""
STREAMS = 4
"""Runs of keys that are read side by side: one alone does not keep memory busy, and more confuse prefetchers."""
RUN = 8
"""Values that are summed up in registers before the sums go back to memory."""


def _attend(queries: int) -> Kernel:
    """Makes the kernel that takes so many queries of a group at a time.

    A vector of scores belongs to `queries` queries and, for each, to the tokens `stream * apart + t + j` with
    `stream < STREAMS` and `j < near`, in this order.
    """
    tokens = LANES // queries
    near = tokens // STREAMS
    tile = queries * tokens
    room = queries * MOST_TOKENS
    halves = 2 * queries

    @helper
    def score(scores, query, rows, keys, first, count, apart):
        """Fills the chunk's scores with e^(score - largest); returns their sum and the largest, per query."""
        whole = keys.shape[1] // PAIR * PAIR
        largest = vectors.filled(-math.inf, 1)
        for t in range(0, apart, near):
            cached = lanes.rows_apart(first + t, apart, first + count - 1, STREAMS, near)
            dots = vectors.filled(0, tile)
            for column in range(0, whole, PAIR):
                part = lanes.load_pairs(query, rows, column)
                dots = vectors.add_pair_products(dots, part, lanes.load_pairs(keys, cached, column))
            if whole < keys.shape[1]:
                part = lanes.load_pairs(query, rows, whole)
                dots = vectors.add_pair_products(dots, part, lanes.load_last_pairs(keys, cached, whole))
            found = vectors.sums(dots)
            largest = vectors.larger(found, largest)
            lanes.store(scores, t * queries * STREAMS, found)
        for stream in range(STREAMS):
            # Past the end of the chunk the last token was scored again.
            for t in range(max(0, count - stream * apart), apart):
                for q in range(queries):
                    scores[t // near * LANES + q * tokens + stream * near + t % near] = -math.inf
        largest = vectors.largest_of_group(largest, tokens)
        total = vectors.filled(0, 1)
        for index in range(0, apart * queries * STREAMS, LANES):
            powers = vectors.exp(lanes.load(scores, index) - largest)
            lanes.store(scores, index, powers)
            total = total + powers
        return total, largest

    @helper
    def mix(mixed, rows, scores, values, first, count, apart):
        """Sums up the chunk's values, weighted by `scores`."""
        for column in range(0, mixed.shape[1], PAIR):
            lanes.store_pairs(mixed, rows, column, vectors.filled(0, halves))
        for stream in range(STREAMS):
            for start in range(0, min(apart, count - stream * apart), RUN):
                stop = min(start + RUN, apart, count - stream * apart)
                for column in range(0, mixed.shape[1], PAIR):
                    sums = lanes.load_pairs(mixed, rows, column)
                    for t in range(start, stop):
                        place = t // near * LANES + stream * near + t % near
                        weights = lanes.load_splats(scores, place, tokens, queries)
                        cached = (first + stream * apart + t,)
                        if column + PAIR <= values.shape[1]:
                            part = lanes.load_pairs(values, cached, column)
                        else:
                            part = lanes.load_last_pairs(values, cached, column)
                        sums = vectors.add_products(sums, weights, part)
                    lanes.store_pairs(mixed, rows, column, sums)

    def attend(start, stop, query, keys, values, total, largest, mixed, chunk):
        scores = lanes.scratch(room)
        chunks = (keys.shape[1] + chunk - 1) // chunk
        for unit in range(start, stop):
            head, first = unit // chunks, unit % chunks * chunk
            count = min(chunk, keys.shape[1] - first)
            apart = (count + tokens - 1) // tokens * near
            for number in range(query.shape[1] // queries):
                rows = lanes.rows_apart(number * queries, 0, query.shape[1], 1, queries)
                sums, peaks = score(scores, query[head], rows, keys[head], first, count, apart)
                lanes.store(total[unit, number], 0, sums)
                lanes.store(largest[unit, number], 0, peaks)
                mix(mixed[unit], rows, scores, values[head], first, count, apart)

    attend.__name__ = f"attend_{queries}"
    return kernel(attend)


_KERNELS = {queries: _attend(queries) for queries in (1, 4)}


@kernel
def combine(start, stop, total, largest, mixed, values, out, queries):
    """Brings together the chunks of the queries [start, stop)."""
    group, tokens = mixed.shape[1], LANES // queries
    chunks = mixed.shape[0] // values.shape[0]
    for row in range(start, stop):
        first, tile, place = row // group * chunks, row % group // queries, row % queries * tokens
        peak = -math.inf
        for unit in range(first, first + chunks):
            peak = max(peak, largest[unit, tile, place])
        sums = 0.0
        for column in range(0, out.shape[1], PAIR):
            lanes.store_pairs(out, (row,), column, vectors.filled(0, 2))
        for unit in range(first, first + chunks):
            weight = math.exp(largest[unit, tile, place] - peak)
            for index in range(place, place + tokens):
                sums += weight * total[unit, tile, index]
            _add_scaled(out, row, weight, mixed[unit], row % group)
        for column in range(0, out.shape[1], PAIR):
            mean = vectors.add_products(
                vectors.filled(0, 2), vectors.filled(1 / sums, 1), lanes.load_pairs(out, (row,), column)
            )
            lanes.store_pairs(out, (row,), column, lanes.consecutive(mean, values))


@helper
def _add_scaled(out, row, weight, mixed, query):
    for column in range(0, out.shape[1], PAIR):
        sums = lanes.load_pairs(out, (row,), column)
        sums = vectors.add_products(sums, vectors.filled(weight, 1), lanes.load_pairs(mixed, (query,), column))
        lanes.store_pairs(out, (row,), column, sums)


def _refuses(workload: Attention) -> str | None:
    if workload.kv_format not in ("f32", "bf16"):
        return f"kv_format must be f32 or bf16; got {workload.kv_format}"
    return refusal(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Float[Array, "kv_heads context head_dim"],
    values: Float[Array, "kv_heads context value_dim"] | None = None,
) -> Float[Array, "heads value_dim"]:
    """Keys and values are widened to float32 in registers; scores, powers and sums are float32."""
    heads, group = workload.kv_heads, workload.heads // workload.kv_heads
    cached = keys if values is None else values
    queries = 1 if group == 1 else 4
    padded = -(-group // queries) * queries
    width = -(-workload.value_dim // PAIR) * PAIR
    chunk = chunk_tokens(workload, keys.dtype.itemsize)
    units = heads * -(-workload.context // chunk)

    def shape(*extents: int) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(extents, jnp.float32)

    partial = _KERNELS[queries](
        _in_load_order(query.astype(jnp.float32).reshape(heads, group, -1) * workload.scale, padded, keys.dtype),
        keys,
        cached,
        results=(shape(units, padded // queries, LANES), shape(units, padded // queries, LANES), shape(units, padded, width)),
        units=units,
        chunk=chunk,
    )
    out = combine(*partial, cached, results=shape(heads * padded, width), units=heads * padded, queries=queries)
    out = out.reshape(heads, padded, width)[:, :group, : workload.value_dim]
    return out.reshape(workload.heads, workload.value_dim).astype(query.dtype)


def chunk_tokens(workload: Attention, itemsize: int) -> int:
    """Tokens per chunk."""
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
    if cache != jnp.bfloat16:
        return query
    pairs = query.reshape(*query.shape[:2], -1, LANES, 2)
    return pairs.swapaxes(-1, -2).reshape(query.shape)
