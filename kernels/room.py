"""Memory for operands that JAX takes over as it stands."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

_ALIGNMENT = 64
"""Bytes; on a CPU, JAX copies an array that does not begin at a multiple of these."""


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
    memory = np.empty(count * apart + _ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % _ALIGNMENT
    starts = (first + number * apart for number in range(count))
    return [memory[start : start + size].view(dtype).reshape(shape) for start in starts]


def is_taken_over(array: np.ndarray) -> bool:
    """Whether an array lies as `empty` makes it."""
    return array.flags.c_contiguous and array.ctypes.data % _ALIGNMENT == 0
