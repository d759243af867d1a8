"""The vector as weights of four bits are multiplied with it on a CPU. See `kernels.ffi.nibbles`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int8

from ..ffi import BLOCK, Kernel, digits, kernel, lanes, nibbles

GRAIN = 64
"""Blocks that a thread takes at a time."""


@cache
def _storing(count: int) -> Kernel:
    """Makes the kernel that writes blocks of vectors as rows of so many digits."""

    def store_digits(start, stop, x, rows, offset, unit):
        blocks = (x.shape[1] + BLOCK - 1) // BLOCK
        padded = lanes.scratch(BLOCK)
        for row in range(start, stop):
            vector, first = row // blocks, row % blocks * BLOCK
            if first + BLOCK <= x.shape[1]:
                digits.store(x[vector], first, rows, row, offset, unit, count)
            else:
                for column in range(BLOCK):
                    padded[column] = x[vector, first + column] if first + column < x.shape[1] else 0
                digits.store(padded, 0, rows, row, offset, unit, count)

    store_digits.__name__ = f"store_{count}_digits"
    return kernel(store_digits)


def in_digits(x: Float[Array, "*m k"], count: int, *, integers: bool) -> Int8[Array, "*m blocks row"]:
    """A row of digits for each 128 columns, the last padded with zeros.

    Args:
        x: vectors, float32.
        count: of digits.
        integers: whether the weights are integers; otherwise they are E2M1.
    """
    blocks = -(-x.shape[-1] // BLOCK)
    flat = x.reshape(-1, x.shape[-1])
    rows = _storing(count)(
        flat,
        results=jax.ShapeDtypeStruct((flat.shape[0] * blocks, digits.row_bytes(count)), jnp.int8),
        units=flat.shape[0] * blocks,
        grain=GRAIN,
        offset=nibbles.INT4_OFFSET if integers else nibbles.E2M1_OFFSET,
        unit=1.0 if integers else 0.5,
    )
    return rows.reshape(*x.shape[:-1], blocks, -1)


def as_floats(x: Float[Array, "*m k"], *, integers: bool) -> tuple[Float[Array, "*m blocks columns"], float]:
    """The same where the CPU multiplies no integers, with what the products are to be multiplied by."""
    if integers:
        return _in_order(x, nibbles.FLOAT_COLUMNS) * jnp.array(nibbles.FLOAT_FACTORS, jnp.float32), 1.0
    return _in_order(x, nibbles.E2M1_COLUMNS), nibbles.E2M1_UNIT


def _in_order(x: Float[Array, "*m k"], columns: Sequence[int]) -> Float[Array, "*m blocks columns"]:
    padded = jnp.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, -x.shape[-1] % len(columns))])
    return padded.reshape(*x.shape[:-1], -1, len(columns))[..., jnp.array(columns)]
