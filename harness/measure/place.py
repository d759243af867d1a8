"""Where operands lie."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ...kernels import room


def placed(operands: Mapping[str, Any], count: int = 1) -> list[dict[str, Any]]:
    """So many copies of some operands, each on the default device and none to be donated.

    On a CPU the copies of an operand lie one after the other in one piece of memory, and a single one is the given array
    itself if JAX can take it over: whoever drew it must not write to it.

    Args:
        operands: arrays by name, or dicts of them.
        count: of the copies.
    """
    leaves, structure = jax.tree.flatten(dict(operands))
    copies: list[list[Any]] = [[] for _ in range(count)]
    for leaf in leaves:
        for copy, array in zip(copies, _in_one_piece(np.asarray(leaf), count), strict=True):
            copy.append(jax.device_put(array))
    return [jax.tree.unflatten(structure, copy) for copy in copies]


def stack(leaf: Any, count: int) -> jax.Array:
    """So many copies of an array as one with a first axis more, placed alike."""
    [array] = room.empty((count, *leaf.shape), leaf.dtype)
    array[...] = np.asarray(leaf)
    return jax.device_put(array)


def _in_one_piece(array: np.ndarray, count: int) -> list[np.ndarray]:
    if count == 1 and room.is_taken_over(array):
        return [array]
    copies = room.empty(array.shape, array.dtype, count)
    for copy in copies:
        copy[...] = array
    return copies
