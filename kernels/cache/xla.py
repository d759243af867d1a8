"""KV-cache update in plain JAX."""

from jax import Array, lax
from jaxtyping import Float, Int

from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import CacheUpdate


@implementation(refuses=refusal)
def update_slice(
    workload: CacheUpdate, *, position: Int[Array, ""], **arrays: Float[Array, "..."]
) -> tuple[Float[Array, "kv_heads context width"], ...]:
    """A dynamic update of one row, in place where the caches are donated. On CPU, jax 0.10 widens bfloat16 for it and
    so passes over the whole cache; jax 0.12 does not.
    """
    dtype = dtype_of(workload.kv_format)
    rows = {name: arrays[f"new_{name}"][:, None].astype(dtype) for name in workload.results()}
    return tuple(lax.dynamic_update_slice(arrays[name], row, (0, position, 0)) for name, row in rows.items())
