"""What a number format is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float


class Format(ABC):
    """A way to store numbers. Packed values are one NumPy array, or a dict of them (values and scales)."""

    name: ClassVar[str]
    bits: ClassVar[float]
    """Bits per element without scales; the compute dtype that a device's peak is looked up by."""
    epsilon: ClassVar[float]
    """Largest relative error of rounding one value (half an ulp; for block formats relative to the block's maximum)."""

    holds_numbers: ClassVar[bool] = True
    """False for index types, which no weight, cache or activation is stored in."""

    @abstractmethod
    def pack(self, values: Float[np.ndarray, ...]) -> Any:
        """Rounds float32 values to the format. Every array of the result keeps all axes of `values` but the last."""

    @abstractmethod
    def unpack(self, packed: Any) -> Float[np.ndarray, ...]:
        """The float64 values that the packed numbers stand for."""

    def nbytes(self, shape: tuple[int, ...]) -> float:
        """Bytes that an array of this shape takes, scales included."""
        return math.prod(shape) * self.bits / 8


class Plain(Format):
    """A format that is one NumPy dtype, element by element."""

    dtype: ClassVar[Any]

    def pack(self, values: Float[np.ndarray, ...]) -> Any:
        return np.asarray(values).astype(self.dtype)

    def unpack(self, packed: Any) -> Float[np.ndarray, ...]:
        return np.asarray(packed).astype(np.float64)


def rows(packed: Any, which: slice | np.ndarray) -> Any:
    """The packed values of some rows, counted along the first axis."""
    return {name: rows(part, which) for name, part in packed.items()} if isinstance(packed, dict) else packed[which]
