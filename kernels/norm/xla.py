"""Norms in plain JAX."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from ..op import implementation
from ..plain import dtype_of, refusal
from .reference import EPSILON
from .workload import Norm


@implementation(refuses=refusal)
def normalise(
    workload: Norm,
    *,
    x: Float[Array, "rows d"],
    scale: Float[Array, "d"],
    residual: Float[Array, "rows d"] | None = None,
    bias: Float[Array, "d"] | None = None,
) -> Float[Array, "rows d"] | tuple[Float[Array, "rows d"], Float[Array, "rows d"]]:
    """The definition, in float32. LayerNorm sums the squares of what is already centred: the difference of two means
    would lose the variance of a row whose mean is large.
    """
    dtype = dtype_of(workload.activation_format)
    stream = x.astype(jnp.float32)
    if residual is not None:
        stream = stream + residual.astype(jnp.float32)
    centred = stream if workload.kind == "rmsnorm" else stream - stream.mean(-1, keepdims=True)
    y = centred * lax.rsqrt(jnp.square(centred).mean(-1, keepdims=True) + EPSILON) * scale.astype(jnp.float32)
    if bias is not None:
        y = y + bias.astype(jnp.float32)
    return (y.astype(dtype), stream.astype(dtype)) if workload.residual else y.astype(dtype)
