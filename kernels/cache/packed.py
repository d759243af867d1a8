"""New rows of a cache, rounded to its format in JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, Num

from ..formats import format_named
from ..formats.base import PerRow, Plain
from .workload import CacheUpdate


def unpackable(workload: CacheUpdate) -> str | None:
    """Why rows cannot be rounded here, or None."""
    if isinstance(format_named(workload.kv_format), Plain | PerRow):
        return None
    return f"a cache must be one array, or have one scale per row; got {workload.kv_format}"


def packed(kv_format: str, rows: Float[Array, "heads width"]) -> Num[Array, "heads width"] | dict[str, Num[Array, "heads _"]]:
    """What `Format.pack` makes of the rows, as JAX arrays.

    Raises:
        TypeError: if the format is neither plain nor one of rows with scales.
    """
    one = format_named(kv_format)
    if isinstance(one, Plain):
        return rows.astype(one.dtype)
    if not isinstance(one, PerRow):
        raise TypeError(f"kv_format must be plain, or have a scale per row; got {kv_format!r}")
    rows = rows.astype(jnp.float32)
    scales = _scales_for(jnp.abs(rows).max(-1, keepdims=True), one.largest)
    scaled = rows / scales
    if jnp.issubdtype(one.dtype, jnp.integer):
        # NaN has no integer: the scale of its row is NaN, and carries it.
        scaled = jnp.nan_to_num(jnp.round(scaled))
    return {"values": scaled.astype(one.dtype), "scales": scales}


def _scales_for(magnitudes: Float32[Array, "heads one"], largest: float) -> Float32[Array, "heads one"]:
    """See `formats.base.scales_for`."""
    scales = jnp.where(magnitudes == 0, 1, magnitudes / jnp.float32(largest))
    bits = lax.bitcast_convert_type(scales, jnp.uint32)
    rounded_up = lax.bitcast_convert_type((bits + jnp.uint32(0xFF)) & jnp.uint32(0xFFFFFF00), jnp.float32)
    return jnp.where(jnp.isfinite(scales), rounded_up, scales)
