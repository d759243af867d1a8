"""KV-cache update on a CPU: one row per head is written, whatever the format's width."""

from __future__ import annotations

from typing import Any

import jax
from jaxtyping import Array, Int, Num

from ..ffi import kernel, unusable
from ..op import implementation
from .packed import packed, unpackable
from .workload import CacheUpdate


@kernel
def write_rows(start, stop, new, position, _before, cache):
    """Writes row `position` of heads [start, stop)."""
    row = position[()]
    for head in range(start, stop):
        for column in range(new.shape[1]):
            cache[head, row, column] = new[head, column]


def _refuses(workload: CacheUpdate) -> str | None:
    if workload.kv_format != "fp8" and jax.__version_info__ >= (0, 12):
        return "XLA updates the donated buffer in place since jax 0.12"
    return unpackable(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(workload: CacheUpdate, *, position: Int[Array, ""], **arrays: Any) -> tuple[Any, ...]:
    """In place in the donated buffer: XLA on CPU widens a cache of FP8, and before jax 0.12 one of bfloat16, and so passes
    over all of it.
    """

    def updated(cache: Num[Array, "kv_heads context width"], row: Num[Array, "kv_heads width"]) -> Num[Array, "..."]:
        return write_rows(
            row,
            position,
            cache,
            results=jax.ShapeDtypeStruct(cache.shape, cache.dtype),
            units=workload.kv_heads,
            grain=workload.kv_heads,
            aliases={2: 0},
        )

    return tuple(
        jax.tree.map(updated, arrays[name], packed(workload.kv_format, arrays[f"new_{name}"])) for name in workload.results()
    )
