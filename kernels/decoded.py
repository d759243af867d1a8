"""Packed numbers as float32 arrays in JAX, for any backend: element by element, so that XLA can fuse it with what follows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int, UInt8

from .formats import format_named
from .formats.base import FourBit, Int4, PerRow, Plain


def decoded(name: str, packed: Any) -> Float[Array, "..."]:
    """The values that numbers packed in a format stand for, exact in float32 (see `Format.unpack`).

    Raises:
        KeyError: if there is no such format.
    """
    one = format_named(name)
    if isinstance(one, Plain):
        return packed.astype(jnp.float32)
    if isinstance(one, PerRow):
        return packed["values"].astype(jnp.float32) * packed["scales"]
    if isinstance(one, FourBit):
        codes, scales = (_int4, _float) if isinstance(one, Int4) else (_e2m1, _e8m0)
        return _grouped(packed["values"], packed["scales"], codes, scales)
    return _blocked(packed["values"], packed["scales"], one.band)


def decoded_row(name: str, packed: Any, index: Int[Array, ""]) -> Float[Array, "k"]:
    """One row of a packed matrix; nothing else of it is read."""
    return decoded(name, row_of(name, packed, index, _slice))[0]


def row_of(name: str, packed: Any, index: Int[Array, ""], take: Callable[[Array, Int[Array, ""]], Array]) -> Any:
    """A packed matrix of one row, by a function that takes that row out of an array."""
    if not isinstance(packed, dict):
        return take(packed, index)
    return {"values": take(packed["values"], index), "scales": take(packed["scales"], index // format_named(name).band)}


def _slice(array: Array, index: Int[Array, ""]) -> Array:
    return lax.dynamic_index_in_dim(array, index)


def _grouped(
    values: UInt8[Array, "... half_k"],
    scales: Array,
    codes: Callable[[UInt8[Array, "..."]], Float[Array, "..."]],
    factors: Callable[[Array], Float[Array, "..."]],
) -> Float[Array, "... k"]:
    axes, k = values.shape[:-1], 2 * values.shape[-1]
    # Of each 16 bytes, the low halves and then the high halves.
    shifts = jnp.array([[0], [4]], jnp.uint8)
    halves = (values.reshape(*axes, -1, 1, 16) >> shifts) & jnp.uint8(15)
    grouped = codes(halves).reshape(*axes, scales.shape[-1], -1) * factors(scales)[..., None]
    return grouped.reshape(*axes, k)


def _blocked(values: Float[Array, "... n k"], scales: Float[Array, "... bands blocks"], block: int) -> Float[Array, "... n k"]:
    *axes, n, k = values.shape
    spread = jnp.repeat(scales, block, axis=-2, total_repeat_length=scales.shape[-2] * block)[..., :n, :]
    grouped = values.astype(jnp.float32).reshape(*axes, n, -1, block) * spread[..., None]
    return grouped.reshape(*axes, n, k)


def _int4(codes: UInt8[Array, "..."]) -> Float[Array, "..."]:
    return codes.astype(jnp.float32) - 8


def _e2m1(codes: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """A sign, two bits of exponent, one of significand: in halves, the magnitudes are whole numbers."""
    exponent, fraction = (codes >> 1) & 3, codes & 1
    halves = jnp.where(exponent == 0, fraction, (2 + fraction) << (jnp.maximum(exponent, 1) - 1))
    return jnp.where(codes >= 8, -0.5, 0.5) * halves.astype(jnp.float32)


def _float(scales: Float[Array, "..."]) -> Float[Array, "..."]:
    return scales.astype(jnp.float32)


def _e8m0(scales: UInt8[Array, "..."]) -> Float[Array, "..."]:
    """The byte is the exponent of a float32 as it is stored; 255 is NaN."""
    powers = lax.bitcast_convert_type(scales.astype(jnp.uint32) << 23, jnp.float32)
    return jnp.where(scales == 255, jnp.nan, powers)
