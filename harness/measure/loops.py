"""Many calls of a kernel inside one compiled loop, each made to wait for the one before.

XLA on CPU drops optimization barriers and hoists calls whose operands do not change, so calls are chained by data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax

from ...kernels.op import Implementation, Workload

INDEX_STRIDE = 40507
"""Rows that an index moves on from call to call: far, as tokens do, and prime, so that it meets every row before one again."""

State = tuple[dict[str, Any], dict[str, Any], Any]
"""What a loop hands from call to call: donated operands, activations, and the last results."""


def turns(workload: Workload, one: Implementation, like: Any, pool: Any, state: State, start: Any, stop: Any) -> State:
    """Turns [start, stop) of the loop. `like` holds the dtypes of one copy where the copies are stacked, else None."""
    donated = [name for name in workload.results() if name in state[0]]
    copies = len(pool) if like is None else jax.tree.leaves(pool)[0].shape[0]

    def call(number: Any, cold: dict[str, Any], state: State) -> State:
        carried, hot, results = state
        hot = {name: _after(results, number, value) for name, value in hot.items()}
        results = one.function(workload, **cold, **carried, **moved_on(workload, hot, number // copies))
        if donated:
            carried = dict(zip(donated, results if isinstance(results, tuple) else (results,), strict=False))
            results = jnp.zeros(())
        return carried, hot, results

    def turn(number: Any, state: State) -> State:
        if like is not None:
            slices = jax.tree.map(lambda leaf: lax.dynamic_index_in_dim(leaf, number % copies, keepdims=False), pool)
            return call(number, jax.tree.map(lambda leaf, like: leaf.view(like.dtype), slices, like), state)
        for place, cold in enumerate(pool):
            state = call(number * len(pool) + place, cold, state)
        return state

    return lax.fori_loop(start, stop, turn, state)


def moved_on(workload: Workload, hot: Mapping[str, Any], round_number: Any) -> dict[str, Any]:
    """Hot operands with their indices moved on. A round uses every copy once; the next reads other rows of them."""
    rows = {name: tensor.below for name, tensor in workload.operands().items() if tensor.role == "index"}
    return {**hot, **{name: (hot[name] + round_number * INDEX_STRIDE % count) % count for name, count in rows.items()}}


def bits(leaf: Any) -> Any:
    """The same bytes as unsigned integers: XLA:CPU would widen a whole stack of 16-bit floats to slice one of them."""
    return leaf.view(_bits_of(leaf.dtype))


def stacked(leaf: Any, copies: int) -> jax.ShapeDtypeStruct:
    """Shape and dtype of so many copies of an array as `bits`, one after the other."""
    return jax.ShapeDtypeStruct((copies, *leaf.shape), _bits_of(leaf.dtype))


def _bits_of(dtype: Any) -> str:
    return f"uint{8 * dtype.itemsize}"


def _after(results: Any, number: Any, value: Any) -> Any:
    """The same input, but known only once the results before are: one element is rewritten with itself plus 0 times a result.

    XLA removes an optimization barrier on CPU and hoists the call; a data dependence through floating-point
    arithmetic it must keep, since 0 times a result may be NaN.
    """
    nothing = (0 * jax.tree.leaves(results)[-1].ravel()[0]).astype(value.dtype)
    if value.ndim == 0:
        return value + nothing
    flat = value.ravel()
    place = number % flat.size
    return lax.dynamic_update_index_in_dim(flat, flat[place] + nothing, place, 0).reshape(value.shape)
