"""A table row in plain JAX."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Embedding


@implementation(refuses=refusal)
def row(
    workload: Embedding, *, table: Float[Array, "rows d"], index: Int[Array, ""], x: Float[Array, "d"] | None = None
) -> Float[Array, "d"]:
    """A dynamic slice, which touches one row whatever the height of the table."""
    y = lax.dynamic_index_in_dim(table, index, keepdims=False).astype(jnp.float32)
    if x is not None:
        y = y + x.astype(jnp.float32)
    return y.astype(dtype_of(workload.activation_format))
