"""Decode attention in plain JAX: queries are grouped by the cached head they share, and no head is repeated."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32

from ..op import implementation
from ..plain import dtype_of, refusal
from ..thirds import thirds
from .workload import Attention


def _exponentials(scores: Float32[Array, "g q t"]) -> tuple[Float32[Array, "g q t"], Float32[Array, "g q 1"]]:
    """The softmax's numerators, and their sum: dividing the result is cheaper than dividing the weights."""
    weights = jnp.exp(scores - scores.max(-1, keepdims=True))
    return weights, weights.sum(-1, keepdims=True)


def _grouped(workload: Attention, query: Float[Array, "heads head_dim"]) -> Float32[Array, "g q head_dim"]:
    return query.astype(jnp.float32).reshape(workload.kv_heads, -1, workload.head_dim) * workload.scale


def _values(workload: Attention, keys: Float[Array, "g t d"], values: Float[Array, "g t v"] | None) -> Float[Array, "g t v"]:
    return keys[..., : workload.value_dim] if values is None else values


def _finished(workload: Attention, out: Float32[Array, "g q v"]) -> Float[Array, "heads v"]:
    return out.reshape(workload.heads, workload.value_dim).astype(dtype_of(workload.activation_format))


def _refuses_other_than_bf16(workload: Attention) -> str | None:
    return None if workload.kv_format == "bf16" else f"keys must be bf16; got {workload.kv_format}"


@implementation(priority=1, refuses=_refuses_other_than_bf16)
def split_dot(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Float[Array, "g t head_dim"],
    values: Float[Array, "g t v"] | None = None,
) -> Float[Array, "heads v"]:
    """Dot products of a bfloat16 cache with the three thirds of queries and weights, so that no float32 copy of the
    cache is written to memory. Keys are the left operand: the other order takes up to four times as long on CPU.
    """
    group = workload.heads // workload.kv_heads
    queries = jnp.concatenate(thirds(_grouped(workload, query)), axis=1)
    products = jnp.einsum("gtd,gqd->gtq", keys, queries, preferred_element_type=jnp.float32)
    scores = products.reshape(workload.kv_heads, workload.context, 3, group).sum(2).swapaxes(1, 2)
    weights, total = _exponentials(scores)
    pieces = jnp.concatenate(thirds(weights), axis=1)
    out = jnp.einsum("gqt,gtv->gqv", pieces, _values(workload, keys, values), preferred_element_type=jnp.float32)
    return _finished(workload, out.reshape(workload.kv_heads, 3, group, workload.value_dim).sum(1) / total)


@implementation(refuses=refusal)
def dot(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Float[Array, "g t head_dim"],
    values: Float[Array, "g t v"] | None = None,
) -> Float[Array, "heads v"]:
    """Dot products in float32, as one writes them; a narrower cache is up-cast, on CPU in memory."""
    exact = lax.Precision.HIGHEST
    scores = jnp.einsum("gqd,gtd->gqt", _grouped(workload, query), keys.astype(jnp.float32), precision=exact)
    weights, total = _exponentials(scores)
    wide = _values(workload, keys, values).astype(jnp.float32)
    return _finished(workload, jnp.einsum("gqt,gtv->gqv", weights, wide, precision=exact) / total)
