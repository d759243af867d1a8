"""KV-cache update in plain JAX."""

from typing import Any

import jax
from jax import Array, lax
from jaxtyping import Int, Num

from ..op import implementation
from .packed import packed, unpackable
from .workload import CacheUpdate


@implementation(refuses=unpackable)
def update_slice(
    workload: CacheUpdate, *, position: Int[Array, ""], **arrays: Any
) -> tuple[Num[Array, "kv_heads context width"] | dict[str, Num[Array, "kv_heads context _"]], ...]:
    """A dynamic update of one row, in place where the caches are donated. On CPU, jax 0.10 widens bfloat16 for it and
    so passes over the whole cache, and so do all versions up to 0.12 with FP8.
    """

    def updated(cache: Num[Array, "kv_heads context width"], row: Num[Array, "kv_heads width"]) -> Num[Array, "..."]:
        return lax.dynamic_update_slice(cache, row[:, None], (0, position, 0))

    return tuple(
        jax.tree.map(updated, arrays[name], packed(workload.kv_format, arrays[f"new_{name}"])) for name in workload.results()
    )
