"""Sampling in plain JAX."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, Int, Int32

from ..op import implementation
from ..plain import refusal
from .workload import Sampling


def _only(*methods: str):
    def refuses(workload: Sampling) -> str | None:
        if workload.method not in methods:
            return f"method must be {' or '.join(methods)}; got {workload.method}"
        return refusal(workload)

    return refuses


@implementation(refuses=_only("greedy"))
def argmax(workload: Sampling, *, logits: Float[Array, "vocab"]) -> Int32[Array, ""]:
    """The maximum, then the first place that equals it: two passes that vectorise, where XLA's own argmax on CPU
    carries value and index through one scalar pass.
    """
    return jnp.argmax(logits == logits.max()).astype(jnp.int32)


@implementation(priority=1, refuses=_only("top_k"))
def top_k(workload: Sampling, *, logits: Float[Array, "vocab"], uniform: Float[Array, ""]) -> Int32[Array, ""]:
    """XLA's top-k, then a draw among k. On CPU it sorts the whole vocabulary."""
    largest, order = lax.top_k(logits.astype(jnp.float32), min(workload.k, workload.vocab))
    return order[_draw(jnp.exp(largest - largest[0]), uniform)]


@implementation(refuses=_only("top_k", "top_p"))
def sort(workload: Sampling, *, logits: Float[Array, "vocab"], uniform: Float[Array, ""]) -> Int32[Array, ""]:
    """The definition: all logits in descending order, a cut, and a draw from the cumulative sum."""
    places = jnp.arange(workload.vocab, dtype=jnp.int32)
    negated, order = lax.sort((-logits.astype(jnp.float32), places), num_keys=1, is_stable=True)
    weights = jnp.exp(negated[0] - negated)
    if workload.method == "top_k":
        kept = places < workload.k
    else:
        cumulative = jnp.cumsum(weights)
        kept = cumulative - weights < workload.p * cumulative[-1]
    return order[_draw(jnp.where(kept, weights, 0), uniform)]


@implementation(backends=("cpu",), priority=2, refuses=_only("top_k", "top_p"))
def bisect(workload: Sampling, *, logits: Float[Array, "vocab"], uniform: Float[Array, ""]) -> Int32[Array, ""]:
    """No sort: the cut, and then the drawn token, is the logit at which the mass of all larger ones crosses a target,
    found by halving the range of float32 bit patterns. Each halving is one vectorised sum over the vocabulary.
    """
    wide = logits.astype(jnp.float32)
    keys, weights = _sortable(wide), jnp.exp(wide - wide.max())
    if workload.method == "top_k":
        size = min(workload.k, workload.vocab)
        cut = _crossing(keys, jnp.ones_like(weights), size - 1.0)
        equals = size - (keys > cut).sum()
    else:
        target = workload.p * weights.sum()
        cut = _crossing(keys, weights, target)
        equals = jnp.ceil((target - _above(keys, weights, cut)) / _at(keys, weights, cut))
    target = uniform * (_above(keys, weights, cut) + equals * _at(keys, weights, cut))
    # With `uniform` close to one, the rounding of a sum may carry the target past what is kept.
    drawn = jnp.maximum(_crossing(keys, weights, target), cut)
    nth = jnp.floor((target - _above(keys, weights, drawn)) / _at(keys, weights, drawn))
    same = keys == drawn
    last = jnp.where(drawn == cut, equals, same.sum()) - 1
    return jnp.argmax(same & (jnp.cumsum(same) > jnp.minimum(nth, last))).astype(jnp.int32)


def _draw(weights: Float32[Array, "n"], uniform: Float[Array, ""]) -> Int[Array, ""]:
    """The first place at which the cumulative sum exceeds `uniform` of the whole; at most the last one that weighs."""
    cumulative = jnp.cumsum(weights)
    return jnp.minimum((cumulative <= uniform * cumulative[-1]).sum(), (weights > 0).sum() - 1)


def _sortable(x: Float32[Array, "n"]) -> Int32[Array, "n"]:
    """Integers in the order of the floats: the bit pattern, with the magnitude of negative ones turned round."""
    bits = lax.bitcast_convert_type(x, jnp.int32)
    return jnp.where(bits < 0, bits ^ 0x7FFFFFFF, bits)


def _crossing(keys: Int32[Array, "n"], weights: Float32[Array, "n"], target: Float32[Array, ""] | float) -> Int32[Array, ""]:
    """The largest key such that the weights of it and of all larger ones add up to more than `target`."""

    def halve(_: Int32[Array, ""], ends: tuple[Array, Array]) -> tuple[Array, Array]:
        low, high = ends
        middle = (low >> 1) + (high >> 1) + (low & high & 1)
        is_enough = jnp.where(keys >= middle, weights, 0).sum() > target
        return jnp.where(is_enough, middle, low), jnp.where(is_enough, high, middle)

    return lax.fori_loop(0, 32, halve, (keys.min(), keys.max() + 1))[0]


def _above(keys: Int32[Array, "n"], weights: Float32[Array, "n"], key: Int32[Array, ""]) -> Float32[Array, ""]:
    return jnp.where(keys > key, weights, 0).sum()


def _at(keys: Int32[Array, "n"], weights: Float32[Array, "n"], key: Int32[Array, ""]) -> Float32[Array, ""]:
    return jnp.where(keys == key, weights, 0).max()
