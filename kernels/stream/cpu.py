"""Streams on a CPU, as fast as its memory and caches deliver."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from ..ffi import LANES, PAIR, helper, kernel, lanes, unusable, vectors
from ..op import implementation
from .workload import BLOCK, SCALE, Stream

GRAIN = 256
"""Blocks that a thread takes at a time: 1 MiB. Larger or smaller by four is slower by a few percent at most."""


@helper
def _row_sums(totals, matrix, rows):
    whole = matrix.shape[1] // PAIR * PAIR
    for column in range(0, whole, PAIR):
        totals = totals + lanes.load_pairs(matrix, rows, column)
    if whole < matrix.shape[1]:
        totals = totals + lanes.load_last_pairs(matrix, rows, whole)
    return vectors.sums(vectors.pair_sums(totals))


@kernel
def read(start, stop, source, sums, repeats):
    """Adds up blocks [start, stop); four that lie apart at a time, each a stream of its own."""
    count = source.size // BLOCK
    blocks, rest = (
        source[: count * BLOCK].reshape(count, BLOCK),
        source[count * BLOCK :].reshape(1, source.size - count * BLOCK),
    )
    last = min(stop, count)
    quarter = (last - start) // 4
    sums[start:stop] = 0
    for _ in range(repeats):
        for block in range(start, start + quarter):
            four = _row_sums(vectors.filled(0, 8), blocks, lanes.rows_apart(block, quarter, last - 1, 4, 1))
            for index in range(4):
                sums[block + index * quarter] += vectors.lane(four, index)
        for block in range(start + 4 * quarter, last):
            sums[block] += vectors.lane(_row_sums(vectors.filled(0, 2), blocks, (block,)), 0)
        if last < stop:
            sums[last] += vectors.lane(_row_sums(vectors.filled(0, 2), rest, (0,)), 0)


@kernel
def copy(start, stop, source, _before, destination, repeats):
    """Copies blocks [start, stop)."""
    first, last = start * BLOCK, min(stop * BLOCK, source.size)
    whole = last - (last - first) % LANES
    for _ in range(repeats):
        for index in range(first, whole, LANES):
            lanes.store(destination, index, lanes.load(source, index))
        for index in range(whole, last):
            destination[index] = source[index]


@kernel
def triad(start, stop, left, right, _before, destination, repeats):
    """Adds scaled blocks [start, stop)."""
    first, last = start * BLOCK, min(stop * BLOCK, left.size)
    whole = last - (last - first) % LANES
    scale = np.float32(SCALE)
    scales = vectors.filled(scale, 1)
    for _ in range(repeats):
        for index in range(first, whole, LANES):
            lanes.store(destination, index, lanes.load(left, index) + scales * lanes.load(right, index))
        for index in range(whole, last):
            destination[index] = left[index] + scale * right[index]


_KERNELS = {"read": read, "copy": copy, "triad": triad}


@implementation(backends=("cpu",), priority=10, missing=unusable)
def numba(workload: Stream, **arrays: Float[Array, "n"]) -> Float[Array, "m"]:
    """Several passes are made over a share for each thread, which so stays in the thread's own caches."""
    (result,) = workload.results().values()
    names = list(workload.operands())
    return _KERNELS[workload.kind](
        *(arrays[name] for name in names),
        results=jax.ShapeDtypeStruct(result.shape, jnp.float32),
        units=-(-workload.elements // BLOCK),
        grain=GRAIN if workload.repeats == 1 else None,
        aliases={names.index("destination"): 0} if "destination" in names else None,
        repeats=workload.repeats,
    )
