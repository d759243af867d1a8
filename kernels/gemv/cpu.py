"""GEMV on a CPU, at the speed of its memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..blocks import block_size
from ..ffi import BLOCK, PAIR, Kernel, helper, kernel, lanes, nibbles, unit_of, unusable, vectors
from ..formats import format_named
from ..formats.base import FourBit, Int4
from ..op import implementation
from ..plain import refusal
from .around import fusing
from .arranged import as_floats, in_digits
from .workload import Gemv

ROWS = 8
"""Rows that are read side by side, each a stream of its own; they share what is loaded of x."""
GRAIN_BYTES = 2**20
"""Weights that a thread takes at a time: streams of 128 KiB, long enough to lose little where they begin."""
AHEAD_BYTES = 4096
"""Between the weights that are used and those that are asked for: a page, so that the next page is on its way when a page
ends, where the prefetchers of the hardware stop."""


@helper
def _add_pairs(totals, values, _scales, x, rows):
    """Adds to each vector of `totals` the products of a row of weights and the one row of `x`."""
    whole = x.shape[1] // PAIR * PAIR
    for column in range(0, whole, PAIR):
        lanes.prefetch_pairs(values, rows, column + AHEAD_BYTES // values.itemsize, 1)
        factors = lanes.arranged(lanes.load_pairs(x, (0,), column, 1), values)
        totals = vectors.add_pair_products(totals, lanes.load_pairs(values, rows, column, 1), factors)
    if whole < x.shape[1]:
        factors = lanes.arranged(lanes.load_last_pairs(x, (0,), whole), values)
        totals = vectors.add_pair_products(totals, lanes.load_last_pairs(values, rows, whole), factors)
    return totals


@helper
def _add_blocks(totals, values, scales, x, rows):
    """The same where 128 columns of 128 rows share a scale."""
    for block in range(scales.shape[1]):
        sums = vectors.zeros(totals)
        for column in range(block * BLOCK, (block + 1) * BLOCK, PAIR):
            lanes.prefetch_pairs(values, rows, column + AHEAD_BYTES, 1)
            factors = lanes.arranged(lanes.load_pairs(x, (0,), column, 1), values)
            sums = vectors.add_pair_products(sums, lanes.load_pairs(values, rows, column, 1), factors)
        totals = vectors.add_lane_products(totals, sums, lanes.load_block_scales(scales, rows, block, BLOCK))
    return totals


def _add_groups(group: int, digits: int) -> Callable[..., Any]:
    """The same where so many columns of a row share a scale, and two share a byte. See `nibbles.add_products`."""

    @helper
    def add(totals, values, scales, x, rows):
        whole = values.shape[1] * 2 // BLOCK
        for block in range(whole):
            lanes.prefetch_pairs(values, rows, block * (BLOCK // 2) + AHEAD_BYTES, 2)
            totals = nibbles.add_products(totals, values, scales, rows, block, x, group, digits)
        if whole * BLOCK < values.shape[1] * 2:
            totals = nibbles.add_last_products(totals, values, scales, rows, whole, x, group, digits)
        return totals

    return add


def _dot_rows(name: str, add_products: Callable[..., Any]) -> Kernel:
    """Makes the kernel that adds up products so."""

    def dot_rows(start, stop, values, scales, x, y):
        apart = (stop - start) // ROWS
        for row in range(start, start + apart):
            rows = lanes.rows_apart(row, apart, stop - 1, ROWS, 1)
            sums = vectors.sums(add_products(vectors.filled(0, ROWS), values, scales, x, rows))
            for index in range(ROWS):
                y[row + index * apart] = vectors.lane(sums, index)
        for row in range(start + ROWS * apart, stop):
            y[row] = vectors.total(add_products(vectors.filled(0, 1), values, scales, x, (row,)))

    dot_rows.__name__ = name
    return kernel(helper(dot_rows))


_dot = _dot_rows("dot_rows", _add_pairs)
_dot_blocks = _dot_rows("dot_blocks", _add_blocks)


@cache
def _dot_groups(group: int, digits: int) -> Kernel:
    return _dot_rows(f"dot_groups_of_{group}_in_{digits}", _add_groups(group, digits))


EXACT_DIGITS, ROUNDED_DIGITS = 3, 2
"""Digits of a vector against weights of four bits where results are float32, and where they are rounded to 16 bits. With
them a number keeps 23 and 15 bits of the largest of its 32: more than the rounding of sums and of results leaves."""


def _refuses(workload: Gemv) -> str | None:
    return refusal(workload, decodes="weight")


@dataclass(frozen=True)
class RowProducts:
    """What a kernel of this file is given: matrices of `n` rows of `k`, with any axes before, and vectors.

    Attributes:
        kernel: adds up the products of rows.
        values, scales: of the matrices, as they are packed; scales of no meaning where there are none.
        factors: the vectors as the kernel takes them.
        of_rows: what its sums are then multiplied by: one number, or one for each row.
    """

    kernel: Kernel
    values: Array
    scales: Array
    factors: Array
    of_rows: Float[Array, "*n"]


def row_products(weight_format: str, weight: Any, x: Float[Array, "*m k"], result_format: str) -> RowProducts:
    """The kernel for a format, with its arguments. The sums need be no more precise than their format is."""
    one, x = format_named(weight_format), x.astype(jnp.float32)
    is_scaled = isinstance(weight, dict)
    values = weight["values"] if is_scaled else weight
    scales = weight["scales"] if is_scaled else jnp.ones((*weight.shape[:-2], 1, 1))
    if isinstance(one, FourBit):
        integers = isinstance(one, Int4)
        if nibbles.multiplies_integers():
            digits = EXACT_DIGITS if result_format == "f32" else ROUNDED_DIGITS
            factors, unit = in_digits(x, digits, integers=integers), 1.0
        else:
            digits, (factors, unit) = 0, as_floats(x, integers=integers)
        return RowProducts(_dot_groups(one.group, digits), values, scales, factors, jnp.float32(unit))
    unit = jnp.float32(unit_of(values.dtype))
    if one.band > 1:
        return RowProducts(_dot_blocks, values, scales, x[..., None, :], unit)
    return RowProducts(_dot, values, scales, x[..., None, :], unit * scales[..., 0] if is_scaled else unit)


def grain(values: Array) -> int:
    """Rows that a thread takes at a time: an odd number for each stream, for streams that begin a power of two apart would
    share few sets of a cache.
    """
    stream_bytes = block_size("gemv_grain_bytes", GRAIN_BYTES) // ROWS
    return (stream_bytes // (values.shape[-1] * values.dtype.itemsize) | 1) * ROWS


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
@fusing
def numba(workload: Gemv, *, weight: Float[Array, "n k"] | dict[str, Array], x: Float[Array, "k"]) -> Float[Array, "n"]:
    """Each weight is read once and widened to float32 in a register; sums are float32, and scales multiply sums.

    Weights of four bits stay integers where the CPU adds up products of bytes: then the vector is written in 8-bit digits, of
    which 23 bits are kept of the largest of each 32 numbers, or 15 where results have 16 bits (see `ffi.digits`).
    """
    parts = row_products(workload.weight_format, weight, x, workload.activation_format)
    y = parts.kernel(
        parts.values,
        parts.scales,
        parts.factors,
        results=jax.ShapeDtypeStruct((workload.n,), jnp.float32),
        units=workload.n,
        grain=grain(parts.values),
    )
    return (y * parts.of_rows).astype(x.dtype)
