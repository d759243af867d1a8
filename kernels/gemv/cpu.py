"""GEMV on a CPU, at the speed of its memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..ffi import PAIR, helper, kernel, lanes, unusable, vectors
from ..op import implementation
from ..plain import refusal
from .workload import Gemv

ROWS = 8
"""Rows that are read side by side, each a stream of its own; they share what is loaded of x."""
GRAIN_BYTES = 2**20
"""Weights that a thread takes at a time: streams of 128 KiB, long enough to lose little where they begin."""
AHEAD = 2048
"""Weights between those that are used and those that are asked for: a page of bfloat16, so that the next page is on its
way when a page ends, where the prefetchers of the hardware stop."""


@helper
def _add_dot_products(totals, weight, x, rows):
    """Adds to each vector of `totals` the products of a row of weights and the one row of `x`."""
    whole = x.shape[1] // PAIR * PAIR
    for column in range(0, whole, PAIR):
        lanes.prefetch_pairs(weight, rows, column + AHEAD, 1)
        factors = lanes.arranged(lanes.load_pairs(x, (0,), column, 1), weight)
        totals = vectors.add_pair_products(totals, lanes.load_pairs(weight, rows, column, 1), factors)
    if whole < x.shape[1]:
        factors = lanes.arranged(lanes.load_last_pairs(x, (0,), whole), weight)
        totals = vectors.add_pair_products(totals, lanes.load_last_pairs(weight, rows, whole), factors)
    return totals


@kernel
@helper
def dot_rows(start, stop, weight, x, y):
    """The products of rows [start, stop)."""
    apart = (stop - start) // ROWS
    for row in range(start, start + apart):
        rows = lanes.rows_apart(row, apart, stop - 1, ROWS, 1)
        sums = vectors.sums(_add_dot_products(vectors.filled(0, ROWS), weight, x, rows))
        for index in range(ROWS):
            y[row + index * apart] = vectors.lane(sums, index)
    for row in range(start + ROWS * apart, stop):
        y[row] = vectors.total(_add_dot_products(vectors.filled(0, 1), weight, x, (row,)))


def _refuses(workload: Gemv) -> str | None:
    if workload.weight_format not in ("f32", "bf16"):
        return f"weight_format must be f32 or bf16; got {workload.weight_format}"
    return refusal(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(workload: Gemv, *, weight: Float[Array, "n k"], x: Float[Array, "k"]) -> Float[Array, "n"]:
    """Each weight is read once and widened to float32 in a register; sums are float32."""
    y = dot_rows(
        weight,
        x.astype(jnp.float32)[None],
        results=jax.ShapeDtypeStruct((workload.n,), jnp.float32),
        units=workload.n,
        grain=GRAIN_BYTES // (workload.k * weight.dtype.itemsize),
    )
    return y.astype(x.dtype)
