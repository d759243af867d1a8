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
    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        """Rounds float32 values to the format. Every array of the result keeps all axes of `values` but the last."""

    @abstractmethod
    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        """The float64 values that the packed numbers stand for."""

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Why an array of this shape cannot be stored, or None."""
        return None

    def nbytes(self, shape: tuple[int, ...]) -> float:
        """Bytes that an array of this shape takes, scales included."""
        return math.prod(shape) * self.bits / 8


class Plain(Format):
    """A format that is one NumPy dtype, element by element."""

    dtype: ClassVar[Any]

    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        return np.asarray(values).astype(self.dtype)

    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        return np.asarray(packed).astype(np.float64)


class PerRow(Format):
    """Narrow values under one scale per row, the last axis: `{"values": (..., k), "scales": (..., 1) float32}`.

    The scale takes the row's largest magnitude to the largest that the dtype holds. For weights a row is an output
    channel, for a cache it is one token of one head.
    """

    dtype: ClassVar[Any]
    largest: ClassVar[float]

    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        values = np.asarray(values, np.float32)
        scales = scales_for(np.abs(values).max(-1, keepdims=True), self.largest)
        return {"values": self._encoded(values / scales), "scales": scales}

    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        return np.asarray(packed["values"]).astype(np.float64) * np.asarray(packed["scales"])

    def nbytes(self, shape: tuple[int, ...]) -> float:
        return super().nbytes(shape) + 4 * math.prod(shape[:-1])

    def _encoded(self, scaled: Float[np.ndarray, "..."]) -> np.ndarray:
        return scaled.astype(self.dtype)


def scales_for(magnitudes: Float[np.ndarray, "..."], largest: float) -> Float[np.ndarray, "..."]:
    """The least float32 scales of 16 significant bits under which no magnitude exceeds `largest`; 1 for zeros.

    Products of such a scale with a value of 8 bits are exact in float32, so that packing what was packed changes nothing.
    """
    scales = np.where(magnitudes == 0, np.float32(1), magnitudes / np.float32(largest)).astype(np.float32)
    finite = np.isfinite(scales)
    rounded_up = (scales.view(np.uint32) + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)
    return np.where(finite, rounded_up.view(np.float32), scales)


def rows(packed: Any, which: slice | np.ndarray | tuple[slice | np.ndarray, ...]) -> Any:
    """The packed values of some rows, counted along the first axis, or along the first axes where a tuple is given."""
    return {name: rows(part, which) for name, part in packed.items()} if isinstance(packed, dict) else packed[which]
