"""Rotary embedding in plain JAX."""

import jax.numpy as jnp
import numpy as np
from jax import Array
from jaxtyping import Float, Int

from ..op import implementation
from ..plain import dtype_of, refusal
from .reference import BASE
from .workload import Rope


@implementation(refuses=refusal)
def rotate(workload: Rope, *, x: Float[Array, "heads head_dim"], position: Int[Array, ""]) -> Float[Array, "heads head_dim"]:
    """Sines and cosines of the one position, once for all heads. The frequencies are constants made in float64: an
    error in one is multiplied by the position.
    """
    half = workload.head_dim // 2
    frequencies = (BASE ** (-np.arange(half) / half)).astype(np.float32)
    angle = position.astype(jnp.float32) * frequencies
    cosine, sine = jnp.cos(angle), jnp.sin(angle)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    y = jnp.concatenate([first * cosine - second * sine, second * cosine + first * sine], axis=-1)
    return y.astype(dtype_of(workload.activation_format))
