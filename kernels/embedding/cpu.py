"""A table row on a CPU: only the row is read, wherever the compiler would put the conversion."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..ffi import kernel, unusable
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Embedding


@kernel
def copy_row(start, stop, table, index, row):
    """Copies columns [start, stop) of row `index`."""
    source = index[()]
    for column in range(start, stop):
        row[column] = table[source, column]


def _refusal(workload: Embedding) -> str | None:
    if jax.__version_info__ >= (0, 12):
        return "XLA slices a bfloat16 table as it is since jax 0.12"
    return refusal(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refusal, missing=unusable)
def numba(
    workload: Embedding, *, table: Float[Array, "rows d"], index: Int[Array, ""], x: Float[Array, "d"] | None = None
) -> Float[Array, "d"]:
    """The row is copied as it is stored and widened afterwards: before jax 0.12, XLA on CPU widens the whole table."""
    shape = jax.ShapeDtypeStruct((workload.d,), table.dtype)
    y = copy_row(table, index, results=shape, units=workload.d, grain=workload.d).astype(jnp.float32)
    if x is not None:
        y = y + x.astype(jnp.float32)
    return y.astype(dtype_of(workload.activation_format))
