"""A table row on a CPU: only the row is read, wherever the compiler would put the conversion."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from ..decoded import decoded, row_of
from ..ffi import kernel, unusable
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Embedding


@kernel
def copy_row(start, stop, table, index, row):
    """Copies columns [start, stop) of row `index`."""
    source = index[()]
    for column in range(start, stop):
        row[0, column] = table[source, column]


def _copied(array: Array, index: Int[Array, ""]) -> Array:
    shape = jax.ShapeDtypeStruct((1, array.shape[1]), array.dtype)
    return copy_row(array, index, results=shape, units=array.shape[1], grain=array.shape[1])


def _refusal(workload: Embedding) -> str | None:
    if jax.__version_info__ >= (0, 12):
        return "XLA slices a table of narrow numbers as it is since jax 0.12"
    return refusal(workload, decodes="table")


@implementation(backends=("cpu",), priority=10, refuses=_refusal, missing=unusable)
def numba(
    workload: Embedding,
    *,
    table: Float[Array, "rows d"] | dict[str, Array],
    index: Int[Array, ""],
    x: Float[Array, "d"] | None = None,
) -> Float[Array, "d"]:
    """The row is copied as it is stored and widened afterwards: before jax 0.12, XLA on CPU widens the whole table."""
    y = decoded(workload.weight_format, row_of(workload.weight_format, table, index, _copied))[0]
    if x is not None:
        y = y + x.astype(jnp.float32)
    return y.astype(dtype_of(workload.activation_format))
