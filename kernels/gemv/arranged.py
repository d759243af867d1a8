"""The vector as weights of four bits are multiplied with it on a CPU. See `kernels.ffi.nibbles`."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int16

from ..ffi import nibbles


def arranged(x: Float[Array, "k"], *, integers: bool) -> tuple[Array, Float[Array, ""] | float]:
    """A row for each 128 columns, padded with zeros, and what the products are to be multiplied by.

    Args:
        x: the vector, float32.
        integers: whether the weights are integers; otherwise they are E2M1.
    """
    if nibbles.multiplies_integers():
        pieces, unit = _in_pieces(x)
        return pieces, unit if integers else unit / 2
    if integers:
        return _in_order(x, nibbles.FLOAT_COLUMNS) * jnp.array(nibbles.FLOAT_FACTORS, jnp.float32), 1.0
    return _in_order(x, nibbles.E2M1_COLUMNS), nibbles.E2M1_UNIT


def _in_pieces(x: Float[Array, "k"]) -> tuple[Int16[Array, "blocks integers"], Float[Array, ""]]:
    """As integers: two pieces hold 30 bits of the largest number, and of each number what is not below that.

    Where a number is NaN or infinite, all products are NaN.
    """
    largest = jnp.abs(x).max()
    scaled = _in_order(x / jnp.where(largest == 0, 1, largest), nibbles.INTEGER_COLUMNS) * 2.0**14
    first = jnp.rint(scaled)
    second = jnp.rint((scaled - first) * 2.0**nibbles.PIECE_BITS)
    return jnp.concatenate([first, second], axis=1).astype(jnp.int16), largest * 2.0**-14


def _in_order(x: Float[Array, "k"], columns: Sequence[int]) -> Float[Array, "blocks columns"]:
    return jnp.pad(x, (0, -x.size % len(columns))).reshape(-1, len(columns))[:, jnp.array(columns)]
