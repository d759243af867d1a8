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


AHEAD = 768
"""Elements between what is added up and what is asked for: 3 KiB, so that the next page is on its way when a page ends,
where the prefetchers of the hardware stop."""


@helper
def _sum(matrix, row, ahead):
    """The sum of a row, read in the order in which it lies in memory."""
    whole = matrix.shape[1] // (2 * PAIR) * (2 * PAIR)
    sums = vectors.filled(0, 4)
    for column in range(0, whole, 2 * PAIR):
        if ahead:
            lanes.prefetch_pairs(matrix, (row,), column + ahead, 2)
        sums = sums + lanes.load_pairs(matrix, (row,), column, 2)
    total = vectors.total(sums)
    for column in range(whole, matrix.shape[1]):
        total += matrix[row, column]
    return total


@kernel
def read(start, stop, source, sums, repeats):
    """Adds up blocks [start, stop)."""
    count = source.size // BLOCK
    blocks, rest = (
        source[: count * BLOCK].reshape(count, BLOCK),
        source[count * BLOCK :].reshape(1, source.size - count * BLOCK),
    )
    # One pass reads from memory, several from a cache, where requests ahead would only take time.
    ahead = AHEAD if repeats == 1 else 0
    sums[start:stop] = 0
    for _ in range(repeats):
        for block in range(start, min(stop, count)):
            sums[block] += _sum(blocks, block, ahead)
        if stop > count:
            sums[count] += _sum(rest, 0, ahead)


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
