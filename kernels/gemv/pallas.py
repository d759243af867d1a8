"""GEMV on a GPU: each program multiplies a few rows, or a part of them, with x.

Block sizes are a guess from what an H100 needs to stay busy; they were not measured on a GPU yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Float32, Int32, UInt8

from .. import triton
from ..formats import format_named
from ..formats.base import PerRow, Plain
from ..op import implementation
from ..triton import pl
from .workload import Gemv

PROGRAMS = 396
"""Programs that there should be at the least: three on each of an H100's 132 multiprocessors."""
TILE_BYTES = 8192
"""Weights that a program asks for at once. Three such programs cover a multiprocessor's share of 3.35 TB/s for 1 us."""
ROW_BYTES = 2048
"""Of one row of them: 16 bytes, the widest load, for each of 128 threads."""
WARPS = 4
STAGES = 2
BLOCK = 32
"""Elements of a 4-bit format that share a scale: their low nibbles are elements 0 to 15, their high nibbles 16 to 31."""


@dataclass(frozen=True)
class Tiling:
    """How a matrix is cut: `rows` and `columns` of a program's tile, and `splits` programs that share a row."""

    rows: int
    columns: int
    splits: int


def tiling(n: int, k: int, bits: float) -> Tiling:
    """The tile of a matrix of n rows of k weights, of so many bits each.

    Rows are few enough that there are `PROGRAMS` programs; where single rows are still too few, they are split.
    """
    columns = min(triton.power_of_two(k), int(ROW_BYTES * 8 // bits))
    rows = max(1, int(TILE_BYTES * 8 // bits) // columns)
    while rows > 1 and -(-n // rows) < PROGRAMS:
        rows //= 2
    splits = 1
    while n * splits < PROGRAMS and 2 * splits * columns <= k:
        splits *= 2
    return Tiling(rows, columns, splits)


@dataclass(frozen=True)
class _Tile:
    """Where a tile lies: its first row and column, and how far the matrix reaches where tiles reach beyond it."""

    row: Any
    column: Any
    cut: Tiling
    n: int | None
    k: int | None


def _plain_products(tile: _Tile, x: Any, values: Any) -> Float32[Array, "rows columns"]:
    """Products of weights that are each one number."""
    shape = (tile.cut.rows, tile.cut.columns)
    rows, columns = pl.ds(tile.row, shape[0]), pl.ds(tile.column, shape[1])
    inside = triton.inside(tile.row, shape, 0, tile.n), triton.inside(tile.column, shape, 1, tile.k)
    weight = triton.load(values.at[rows, columns], *inside)
    factors = triton.load(x.at[columns], triton.inside(tile.column, shape[1:], 0, tile.k))
    return weight.astype(jnp.float32) * factors.astype(jnp.float32)[None]


def _nibble_products(decode: _Decode, tile: _Tile, x: Any, values: Any, scales: Any) -> Float32[Array, "rows blocks half"]:
    """Products of weights that lie two in a byte.

    Bytes are (n, k / 32, 16) and x is (k / 32, 2, 16), so that both nibbles of a byte meet their factors in the thread
    that loaded it.
    """
    shape = (tile.cut.rows, tile.cut.columns // BLOCK, BLOCK // 2)
    first, limit = tile.column // BLOCK, None if tile.k is None else tile.k // BLOCK
    rows, blocks = pl.ds(tile.row, shape[0]), pl.ds(first, shape[1])

    def inside(axes: int) -> tuple[Any, Any]:
        return triton.inside(tile.row, shape[:axes], 0, tile.n), triton.inside(first, shape[:axes], 1, limit)

    packed = triton.load(values.at[rows, blocks, :], *inside(3)).astype(jnp.int32)
    products = jnp.zeros(shape, jnp.float32)
    for half, nibbles in enumerate((packed & 0xF, packed >> 4)):
        factors = triton.load(x.at[blocks, jnp.int32(half), :], triton.inside(first, shape[1:], 0, limit))
        products += decode.nibbles(nibbles) * factors.astype(jnp.float32)[None]
    return products * decode.scales(triton.load(scales.at[rows, blocks], *inside(2)))[:, :, None]


def _fp4(nibbles: Int32[Array, "*axes"]) -> Float32[Array, "*axes"]:
    """E2M1 of the OCP microscaling formats 1.0: twice a magnitude is a whole number, 0 1 2 3 4 6 8 12."""
    exponent, low = (nibbles >> 1) & 3, nibbles & 1
    doubled = jnp.where(exponent == 0, low, (2 + low) << jnp.maximum(exponent - 1, 0))
    return jnp.where(nibbles >= 8, -0.5, 0.5) * doubled.astype(jnp.float32)


def _power(scales: UInt8[Array, "*axes"]) -> Float32[Array, "*axes"]:
    """E8M0 of the same: the exponent field of a float32."""
    return lax.bitcast_convert_type(scales.astype(jnp.int32) << 23, jnp.float32)


@dataclass(frozen=True)
class _Decode:
    """What nibbles and scales of a 4-bit format stand for."""

    nibbles: Callable[[Int32[Array, "*axes"]], Float32[Array, "*axes"]]
    scales: Callable[[Any], Float32[Array, "*axes"]]


_DECODES = {
    "int4": _Decode(lambda nibbles: (nibbles - 8).astype(jnp.float32), lambda scales: scales.astype(jnp.float32)),
    "mxfp4": _Decode(_fp4, _power),
}


def _body(products: Callable[..., Any], cut: Tiling, n: int, k: int, per_row: bool, x: Any, *parts: Any) -> None:
    """One program: the sums of its rows over its part of the columns."""
    *parts, y = parts
    steps = pl.cdiv(pl.cdiv(k, cut.columns), cut.splits)
    row, split = pl.program_id(0) * cut.rows, pl.program_id(1)
    beyond = steps * cut.splits * cut.columns != k
    weights = parts[:1] if per_row else parts

    def tile(step: Any) -> Any:
        column = (split * steps + step) * cut.columns
        return products(_Tile(row, column, cut, n if n % cut.rows else None, k if beyond else None), x, *weights)

    totals = lax.fori_loop(1, steps, lambda step, totals: totals + tile(step), tile(0))
    while totals.ndim > 1:
        totals = totals.sum(-1)
    rows, inside = pl.ds(row, cut.rows), triton.inside(row, (cut.rows,), 0, n if n % cut.rows else None)
    if per_row:
        totals *= triton.load(parts[1].at[rows], inside)
    triton.store(y.at[split, rows], totals.astype(y.dtype), inside)


def _refuses(workload: Gemv) -> str | None:
    if isinstance(format_named(workload.weight_format), Plain | PerRow) or workload.weight_format in _DECODES:
        return triton.unreadable(workload)
    return f"weight_format must have one number per element or nibbles in blocks of {BLOCK}; got {workload.weight_format}"


@implementation(backends=("gpu",), priority=-1, refuses=_refuses, missing=triton.unusable)
def row_blocks(workload: Gemv, *, weight: Any, x: Float[Array, "k"]) -> Float[Array, "n"]:
    """Weights are read once, as they are packed, and widened to float32 in registers; sums are float32.

    Not measured on a GPU yet, and so not the default where XLA computes the format.
    """
    n, k, name = workload.n, workload.k, workload.weight_format
    if not isinstance(weight, dict):
        weight = {"values": weight}
    values, scales = weight["values"], [weight["scales"]] if "scales" in weight else []
    if name in _DECODES:
        products, per_row = partial(_nibble_products, _DECODES[name]), False
        values, factors = values.reshape(n, k // BLOCK, BLOCK // 2), x.reshape(k // BLOCK, 2, BLOCK // 2)
    else:
        products, per_row, factors = _plain_products, bool(scales), x
        scales = [scale.reshape(n) for scale in scales]
    cut = tiling(n, k, 8 * values.size * values.dtype.itemsize / (n * k))
    y = triton.call(
        partial(_body, products, cut, n, k, per_row),
        factors,
        values,
        *scales,
        grid=(pl.cdiv(n, cut.rows), cut.splits),
        results=jax.ShapeDtypeStruct((cut.splits, n), x.dtype if cut.splits == 1 else jnp.float32),
        warps=WARPS,
        stages=STAGES,
    )
    return y[0] if cut.splits == 1 else y.sum(0).astype(x.dtype)
