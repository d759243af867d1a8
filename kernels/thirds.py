"""A float32 as the sum of three bfloat16, so that bfloat16 weights are multiplied as they lie in memory."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import BFloat16, Float32

_EXPONENT_BITS, _MANTISSA_BITS = 8, 7


def thirds(x: Float32[Array, "*axes"]) -> tuple[BFloat16[Array, "*axes"], BFloat16[Array, "*axes"], BFloat16[Array, "*axes"]]:
    """Three bfloat16 arrays whose sum is `x`: 3 x 8 bits of significand hold the 24 of float32.

    Products of bfloat16 are exact in float32, so a dot product with each third, added up, is as accurate as one
    in float32 (Henry, Tang and Heinecke, arXiv:1904.06376).
    """
    # `reduce_precision` is a rounding that XLA keeps; a cast to bfloat16 and back is one that it may drop.
    high = lax.reduce_precision(x, _EXPONENT_BITS, _MANTISSA_BITS)
    middle = lax.reduce_precision(x - high, _EXPONENT_BITS, _MANTISSA_BITS)
    low = x - high - middle
    return high.astype(jnp.bfloat16), middle.astype(jnp.bfloat16), low.astype(jnp.bfloat16)
