"""KV-cache update on a CPU: one row per head is written, whatever the format's width."""

from __future__ import annotations

import jax
from jaxtyping import Array, Float, Int

from ..ffi import kernel, unusable
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import CacheUpdate


@kernel
def write_rows(start, stop, new, position, _before, cache):
    """Writes row `position` of heads [start, stop)."""
    row = position[()]
    for head in range(start, stop):
        for column in range(new.shape[1]):
            cache[head, row, column] = new[head, column]


def _refusal(workload: CacheUpdate) -> str | None:
    if jax.__version_info__ >= (0, 12):
        return "XLA updates the donated buffer in place since jax 0.12"
    return refusal(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refusal, missing=unusable)
def numba(workload: CacheUpdate, *, position: Int[Array, ""], **arrays: Float[Array, "..."]) -> tuple[Array, ...]:
    """In place in the donated buffer: before jax 0.12, XLA on CPU widens a bfloat16 cache and so passes over all of it."""
    dtype = dtype_of(workload.kv_format)
    return tuple(
        write_rows(
            arrays[f"new_{name}"].astype(dtype),
            position,
            arrays[name],
            results=jax.ShapeDtypeStruct(arrays[name].shape, dtype),
            units=workload.kv_heads,
            grain=workload.kv_heads,
            aliases={2: 0},
        )
        for name in workload.results()
    )
