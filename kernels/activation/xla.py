"""The feed-forward's non-linearities in plain JAX."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Float32

from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Activation

_FUNCTIONS: dict[str, Callable[[Float32[Array, "*rows d"]], Float32[Array, "*rows d"]]] = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=False),
    "relu": lambda x: jnp.maximum(x, 0),
}


@implementation(refuses=refusal)
def pointwise(workload: Activation, *, x: Float[Array, "*rows width"]) -> Float[Array, "*rows d"]:
    """One fused element-by-element pass in float32."""
    function, wide = _FUNCTIONS[workload.function], x.astype(jnp.float32)
    if workload.gated:
        gate, up = jnp.split(wide, 2, axis=-1)
        y = function(gate) * up
    else:
        y = function(wide)
    return y.astype(dtype_of(workload.activation_format))
