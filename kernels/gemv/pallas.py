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
from ..blocks import block_size
from ..formats import format_named
from ..formats.base import PerRow, Plain
from ..op import implementation
from ..triton import pl
from .around import fusing
from .workload import Gemv

PROGRAMS = 396
"""Programs that there should be at the least: three on each of an H100's 132 multiprocessors."""
TILE_BYTES = 8192
"""Weights that a program asks for at once. Three such programs cover a multiprocessor's share of 3.35 TB/s for 1 us."""
ROW_BYTES = 2048
"""Of one row of them: 16 bytes, the widest load, for each of 128 threads."""
WARPS = 4
STAGES = 2
_NIBBLES = 32
"""Elements whose nibbles lie together."""


@dataclass(frozen=True)
class Tiling:
    """How a matrix is cut: `rows` and `columns` of a program's tile, and `splits` programs that share a row."""

    rows: int
    columns: int
    splits: int


def tiling(n: int, k: int, bits: float, most_rows: int = TILE_BYTES, tile_bytes: int = TILE_BYTES) -> Tiling:
    """The tile of a matrix of n rows of k weights, of so many bits each, of a power of two rows at the most.

    Rows are few enough that there are `PROGRAMS` programs; where single rows are still too few, they are split.
    """
    columns = min(triton.power_of_two(k), int(ROW_BYTES * 8 // bits))
    fitting = max(1, int(tile_bytes * 8 // bits) // columns)
    rows = min(most_rows, 1 << (fitting.bit_length() - 1))
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


def _grouped_products(scheme: _Scheme, tile: _Tile, x: Any, values: Any, scales: Any) -> Float32[Array, "rows groups runs run"]:
    """Products of weights that share a scale with their neighbours in the row.

    With nibbles, both halves of a byte meet their factors in the thread that loaded it: see `_Scheme.arranged`.
    """
    shape = (tile.cut.rows, tile.cut.columns // scheme.group, *values.shape[2:])
    first, limit = tile.column // scheme.group, None if tile.k is None else tile.k // scheme.group
    rows, groups = pl.ds(tile.row, shape[0]), pl.ds(first, shape[1])

    def inside(axes: int) -> tuple[Any, Any]:
        return triton.inside(tile.row, shape[:axes], 0, tile.n), triton.inside(first, shape[:axes], 1, limit)

    packed = triton.load(values.at[rows, groups, :, :], *inside(4))
    products = jnp.zeros(shape, jnp.float32)
    for half, weights in enumerate(scheme.weights(packed)):
        factors = triton.load(x.at[groups, :, jnp.int32(half), :], triton.inside(first, shape[1:], 0, limit))
        products += weights * factors.astype(jnp.float32)[None]
    if scheme.band == 1:
        scale = triton.load(scales.at[rows, groups], *inside(2))
    else:
        scale = triton.load(scales.at[tile.row // scheme.band, groups], triton.inside(first, shape[1:2], 0, limit))[None]
    return products * scheme.scales(scale)[:, :, None, None]


def _integers(codes: Int32[Array, "*axes"]) -> Float32[Array, "*axes"]:
    return (codes - 8).astype(jnp.float32)


def _fp4(codes: Int32[Array, "*axes"]) -> Float32[Array, "*axes"]:
    """E2M1 of the OCP Microscaling Formats specification 1.0: twice a magnitude is a whole number, 0 1 2 3 4 6 8 or 12."""
    exponent, low = (codes >> 1) & 3, codes & 1
    doubled = jnp.where(exponent == 0, low, (2 + low) << jnp.maximum(exponent - 1, 0))
    return jnp.where(codes >= 8, -0.5, 0.5) * doubled.astype(jnp.float32)


def _powers_of_two(scales: UInt8[Array, "*axes"]) -> Float32[Array, "*axes"]:
    """E8M0 of the same, from 2^-126 on: the exponent field of a float32."""
    powers = lax.bitcast_convert_type(scales.astype(jnp.int32) << 23, jnp.float32)
    return jnp.where(scales == 255, jnp.nan, powers)


def _as_float32(scales: Float[Array, "*axes"]) -> Float32[Array, "*axes"]:
    return scales.astype(jnp.float32)


@dataclass(frozen=True)
class _Scheme:
    """A format whose scales belong to parts of rows.

    Attributes:
        group: elements of a row that share a scale.
        scales: what stored scales stand for.
        codes: what nibbles stand for; None where each weight is a number of its own.
        band: consecutive rows that share scales, a power of two.

    """

    group: int
    scales: Callable[[Any], Float32[Array, "*axes"]]
    codes: Callable[[Int32[Array, "*axes"]], Float32[Array, "*axes"]] | None = None
    band: int = 1

    def weights(self, packed: Any) -> list[Float32[Array, "*axes"]]:
        """The weights that a tile holds, without their scale: all of them, or those in each half of the bytes."""
        if self.codes is None:
            return [packed.astype(jnp.float32)]
        halves = packed.astype(jnp.int32)
        return [self.codes(halves & 0xF), self.codes(halves >> 4)]

    def arranged(self, values: Any, x: Any) -> tuple[Any, Any]:
        """Weights as (n, groups, runs, run), and the factors that they meet as (groups, runs, halves, run).

        Of 32 elements, the low nibbles of 16 bytes are the first 16, and the high nibbles are the others.
        """
        run, halves = (self.group, 1) if self.codes is None else (_NIBBLES // 2, 2)
        runs = self.group // (run * halves)
        groups = x.shape[0] // self.group
        return values.reshape(values.shape[0], groups, runs, run), x.reshape(groups, runs, halves, run)


_SCHEMES = {
    "int4": _Scheme(32, _as_float32, _integers),
    "int4_g128": _Scheme(128, _as_float32, _integers),
    "mxfp4": _Scheme(32, _powers_of_two, _fp4),
    "fp8_block": _Scheme(128, _as_float32, band=128),
}


def _body(
    products: Callable[..., Any], cut: Tiling, n: int, k: int, x: Any, parts: list[Any], row_scales: list[Any], y: Any
) -> None:
    """One program: the sums of its rows over its part of the columns."""
    steps = pl.cdiv(pl.cdiv(k, cut.columns), cut.splits)
    row, split = pl.program_id(0) * cut.rows, pl.program_id(1)
    beyond = steps * cut.splits * cut.columns != k
    limit = n if n % cut.rows else None

    def tile(step: Any) -> Any:
        column = (split * steps + step) * cut.columns
        return products(_Tile(row, column, cut, limit, k if beyond else None), x, *parts)

    totals = lax.fori_loop(1, steps, lambda step, totals: totals + tile(step), tile(0))
    while totals.ndim > 1:
        totals = totals.sum(-1)
    rows, inside = pl.ds(row, cut.rows), triton.inside(row, (cut.rows,), 0, limit)
    for scale in row_scales:
        totals *= triton.load(scale.at[rows], inside)
    triton.store(y.at[split, rows], totals.astype(y.dtype), inside)


def _refuses(workload: Gemv) -> str | None:
    name = workload.weight_format
    if name in _SCHEMES or isinstance(format_named(name), Plain | PerRow):
        return triton.unreadable(workload)
    return f"weight_format must be one number per element, or one of {', '.join(_SCHEMES)}; got {name}"


@implementation(backends=("gpu",), priority=-1, refuses=_refuses, missing=triton.unusable)
@fusing
def row_blocks(workload: Gemv, *, weight: Any, x: Float[Array, "k"]) -> Float[Array, "n"]:
    """Weights are read once, as they are packed, and widened to float32 in registers; sums are float32.

    Not measured on a GPU yet, and so not the default where XLA computes the format.
    """
    n, k, scheme = workload.n, workload.k, _SCHEMES.get(workload.weight_format)
    parts = [weight["values"], weight["scales"]] if isinstance(weight, dict) else [weight]
    # A tile lies within the rows that share scales, where rows do.
    tile_bytes = block_size("gemv_tile_bytes", TILE_BYTES)
    most_rows = scheme.band if scheme is not None and scheme.band > 1 else tile_bytes
    cut = tiling(n, k, 8 * parts[0].nbytes / (n * k), most_rows, tile_bytes)
    row_scales: list[Any] = []
    if scheme is not None:
        products, (parts[0], factors) = partial(_grouped_products, scheme), scheme.arranged(parts[0], x)
    else:
        products, factors = _plain_products, x
        parts, row_scales = parts[:1], [scales.reshape(n) for scales in parts[1:]]
    y = triton.call(
        partial(_body, products, cut, n, k),
        factors,
        parts,
        row_scales,
        grid=(pl.cdiv(n, cut.rows), cut.splits),
        results=jax.ShapeDtypeStruct((cut.splits, n), x.dtype if cut.splits == 1 else jnp.float32),
        warps=block_size("gemv_warps", WARPS),
        stages=block_size("gemv_stages", STAGES),
    )
    return y[0] if cut.splits == 1 else y.sum(0).astype(x.dtype)
