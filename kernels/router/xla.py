"""The choice of experts in plain JAX."""

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, Int32

from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Router

_SCORES = {"softmax": jax.nn.softmax, "sigmoid": jax.nn.sigmoid}


@implementation(refuses=refusal)
def top_k(
    workload: Router, *, logits: Float[Array, "experts"], bias: Float32[Array, "experts"] | None = None
) -> tuple[Int32[Array, "top_k"], Float[Array, "top_k"]]:
    """XLA's top-k, once for the groups where there are any, once for the experts."""
    scores = _SCORES[workload.scores](logits.astype(jnp.float32))
    selection = scores if bias is None else scores + bias
    if workload.top_groups < workload.groups:
        grouped = selection.reshape(workload.groups, -1)
        sums = lax.top_k(grouped, workload.best_of_group)[0].sum(-1)
        best = lax.top_k(sums, workload.top_groups)[1]
        is_kept = (jnp.arange(workload.groups)[:, None] == best).any(-1)
        selection = jnp.where(is_kept[:, None], grouped, -jnp.inf).ravel()
    chosen = lax.top_k(selection, workload.top_k)[1]
    weights = scores[chosen]
    if workload.renormalised:
        weights = weights / weights.sum()
    return chosen, (workload.scale * weights).astype(dtype_of(workload.activation_format))
