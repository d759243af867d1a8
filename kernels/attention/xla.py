"""Decode attention in plain JAX: queries are grouped by the cached head they share, and no head is repeated."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, Num

from ..formats import format_named
from ..formats.base import PerRow
from ..op import implementation
from ..plain import dtype_of, refusal
from ..thirds import thirds
from .workload import Attention


def _grouped(workload: Attention, query: Float[Array, "heads head_dim"]) -> Float32[Array, "g q head_dim"]:
    return query.astype(jnp.float32).reshape(workload.kv_heads, -1, workload.head_dim) * workload.scale


def _exponentials(
    workload: Attention,
    scores: Float32[Array, "g q t"],
    sinks: Float32[Array, "heads"] | None = None,
    **bias: Float32[Array, "heads ..."],
) -> tuple[Float32[Array, "g q t"], Float32[Array, "g q 1"]]:
    """The softmax's numerators, and their sum: dividing the result is cheaper than dividing the weights."""
    if workload.softcap:
        scores = workload.softcap * jnp.tanh(scores / workload.softcap)
    if bias:
        scores = scores + workload.added(**bias).reshape(scores.shape)
    largest = scores.max(-1, keepdims=True)
    weights = jnp.exp(scores - largest)
    total = weights.sum(-1, keepdims=True)
    if sinks is not None:
        total = total + jnp.exp(sinks.reshape(workload.kv_heads, -1, 1) - largest)
    return weights, total


def _finished(workload: Attention, out: Float32[Array, "g q v"]) -> Float[Array, "heads v"]:
    return out.reshape(workload.heads, workload.value_dim).astype(dtype_of(workload.activation_format))


def _split_scores(keys: Float[Array, "g t d"], queries: Float32[Array, "g q d"]) -> Float32[Array, "g q t"]:
    # Keys are the left operand: the other order takes up to four times as long on CPU.
    pieces = jnp.concatenate(thirds(queries), axis=1)
    products = jnp.einsum("gtd,gqd->gtq", keys, pieces, preferred_element_type=jnp.float32)
    return products.reshape(*products.shape[:2], 3, -1).sum(2).swapaxes(1, 2)


def _split_mix(weights: Float32[Array, "g q t"], values: Float[Array, "g t v"]) -> Float32[Array, "g q v"]:
    pieces = jnp.concatenate(thirds(weights), axis=1)
    out = jnp.einsum("gqt,gtv->gqv", pieces, values, preferred_element_type=jnp.float32)
    return out.reshape(out.shape[0], 3, -1, out.shape[-1]).sum(1)


def _refuses_other_than_bf16(workload: Attention) -> str | None:
    return None if workload.kv_format == "bf16" else f"keys must be bf16; got {workload.kv_format}"


@implementation(priority=1, refuses=_refuses_other_than_bf16)
def split_dot(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Float[Array, "g t head_dim"],
    values: Float[Array, "g t v"] | None = None,
    **learned: Float32[Array, "heads ..."],
) -> Float[Array, "heads v"]:
    """Dot products of a bfloat16 cache with the three thirds of queries and weights, so that no float32 copy of the
    cache is written to memory.
    """
    weights, total = _exponentials(workload, _split_scores(keys, _grouped(workload, query)), **learned)
    values = keys[..., : workload.value_dim] if values is None else values
    return _finished(workload, _split_mix(weights, values) / total)


@implementation(refuses=refusal)
def dot(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: Float[Array, "g t head_dim"],
    values: Float[Array, "g t v"] | None = None,
    **learned: Float32[Array, "heads ..."],
) -> Float[Array, "heads v"]:
    """Dot products in float32, as one writes them; a narrower cache is up-cast, on CPU in memory."""
    exact = lax.Precision.HIGHEST
    scores = jnp.einsum("gqd,gtd->gqt", _grouped(workload, query), keys.astype(jnp.float32), precision=exact)
    weights, total = _exponentials(workload, scores, **learned)
    wide = (keys[..., : workload.value_dim] if values is None else values).astype(jnp.float32)
    return _finished(workload, jnp.einsum("gqt,gtv->gqv", weights, wide, precision=exact) / total)


def _refuses_other_than_scaled_rows(workload: Attention) -> str | None:
    if isinstance(format_named(workload.kv_format), PerRow):
        return None
    return f"keys must have a scale per row; got {workload.kv_format}"


@implementation(refuses=_refuses_other_than_scaled_rows)
def scaled_dot(
    workload: Attention,
    *,
    query: Float[Array, "heads head_dim"],
    keys: dict[str, Num[Array, "g t _"]],
    values: dict[str, Num[Array, "g t _"]] | None = None,
    **learned: Float32[Array, "heads ..."],
) -> Float[Array, "heads v"]:
    """`split_dot` with a cache of 8 bits, which bfloat16 holds exactly. The scales of the tokens go to the scores and
    to the weights, of which there are fewer than of keys and values.
    """
    scores = _split_scores(keys["values"].astype(jnp.bfloat16), _grouped(workload, query))
    weights, total = _exponentials(workload, scores * keys["scales"].swapaxes(1, 2), **learned)
    held = keys if values is None else values
    narrow = held["values"][..., : workload.value_dim].astype(jnp.bfloat16)
    return _finished(workload, _split_mix(weights * held["scales"].swapaxes(1, 2), narrow) / total)
