"""Memory for operands that JAX takes over as it stands, and that later operands may lie in."""

from __future__ import annotations

import math
import weakref
from typing import Any

import numpy as np

_ALIGNMENT = 64
"""Bytes; on a CPU, JAX copies an array that does not begin at a multiple of these."""
_SMALL = 2**20
"""Bytes; less than this the allocator keeps by itself."""

_idle: dict[int, np.ndarray] = {}
_kept_bytes = 0.0


def keep(size: float) -> None:
    """From now on, up to so many bytes that arrays no longer need are not given back to the system but lie ready for others.

    A hypervisor takes what its guests give back, and getting it again takes seconds per gigabyte.
    """
    global _kept_bytes
    _kept_bytes = size
    _give_back()


def empty(shape: tuple[int, ...], dtype: Any, count: int = 1) -> list[np.ndarray]:
    """So many arrays in one piece of memory, whose elements have no values yet.

    The memory is NumPy's, which asks the system for large pages where JAX does not: getting a gigabyte then takes a fifth of
    the time.

    Args:
        shape, dtype: of each.
        count: of the arrays.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    apart = -(-size // _ALIGNMENT) * _ALIGNMENT
    memory = _memory(count * apart + _ALIGNMENT)
    first = -memory.ctypes.data % _ALIGNMENT
    starts = (first + number * apart for number in range(count))
    return [memory[start : start + size].view(dtype).reshape(shape) for start in starts]


def is_taken_over(array: np.ndarray) -> bool:
    """Whether an array lies as `empty` makes it."""
    return array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0


def _memory(size: int) -> np.ndarray:
    if size < _SMALL:
        return np.empty(size, np.uint8)
    # A piece of more than twice the size is left for what needs it.
    fitting = sorted((piece.size, name) for name, piece in list(_idle.items()) if size <= piece.size <= 2 * size)
    # Another thread may be quicker.
    found = next((piece for _, name in fitting if (piece := _idle.pop(name, None)) is not None), None)
    piece = np.empty(size, np.uint8) if found is None else found
    # Views of an array lent by another object hold on to that array, so that its end is theirs.
    lent = np.frombuffer(piece.data, np.uint8)
    weakref.finalize(lent, _returned, piece).atexit = False
    return lent


def _returned(piece: np.ndarray) -> None:
    _idle[id(piece)] = piece
    _give_back()


def _give_back() -> None:
    """Lets go of the longest idle pieces."""
    for name in list(_idle):
        if sum(piece.size for piece in list(_idle.values())) <= _kept_bytes:
            return
        _idle.pop(name, None)
