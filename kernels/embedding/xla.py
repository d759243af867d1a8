"""A table row in plain JAX."""

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float, Int

from ..decoded import decoded_row
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Embedding


def _refuses(workload: Embedding) -> str | None:
    return refusal(workload, decodes="table")


@implementation(refuses=_refuses)
def row(
    workload: Embedding,
    *,
    table: Float[Array, "rows d"] | dict[str, Array],
    index: Int[Array, ""],
    x: Float[Array, "d"] | None = None,
) -> Float[Array, "d"]:
    """A dynamic slice, which touches one row whatever the height of the table."""
    y = decoded_row(workload.weight_format, table, index)
    if x is not None:
        y = y + x.astype(jnp.float32)
    return y.astype(dtype_of(workload.activation_format))
