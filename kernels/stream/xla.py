"""Streams in plain JAX."""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..op import implementation
from .workload import BLOCK, SCALE, Stream


@implementation()
def fused(workload: Stream, **arrays: Float[Array, "n"]) -> Float[Array, "m"]:
    """One fusion per pass. A barrier ties a pass to the one before, so that none is dropped, merged or hoisted."""
    sources = {name: array for name, array in arrays.items() if name != "destination"}

    def one_pass(_: Int[Array, ""], result: Float[Array, "m"]) -> Float[Array, "m"]:
        tied, result = lax.optimization_barrier((sources, result))
        if workload.kind == "read":
            return result + _block_sums(tied["source"])
        new = tied["source"] if workload.kind == "copy" else tied["left"] + SCALE * tied["right"]
        return lax.dynamic_update_slice(result, new, (0,))

    (shape,) = (tensor.shape for tensor in workload.results().values())
    result = arrays.get("destination", jnp.zeros(shape, jnp.float32))
    return lax.fori_loop(0, workload.repeats, one_pass, result)


def _block_sums(source: Float[Array, "n"]) -> Float[Array, "blocks"]:
    whole = source.size // BLOCK * BLOCK
    sums = source[:whole].reshape(-1, BLOCK).sum(-1)
    return sums if whole == source.size else jnp.concatenate([sums, source[whole:].sum(keepdims=True)])
