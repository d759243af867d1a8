"""What a number format is."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, Shaped, UInt8


class Format(ABC):
    """A way to store numbers. Packed values are one NumPy array, or a dict of them (values and scales)."""

    name: ClassVar[str]
    bits: ClassVar[float]
    """Bits per element without scales."""
    epsilon: ClassVar[float]
    """Largest error of rounding one value, relative to the value (half an ulp), or, where values share a scale, to the
    largest that shares it."""

    roles: ClassVar[tuple[str, ...]] = ("weight",)
    """What it may hold: of `weight`, `kv` and `activation`, or nothing that is a real number."""
    band: ClassVar[int] = 1
    """Rows that share scales: only whole bands can be told apart by `rows`, or what lies within one."""

    @abstractmethod
    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        """Rounds float32 values to the format. NaN makes NaN of all values that share its scale.

        Raises:
            ValueError: if the format refuses the shape.
        """

    @abstractmethod
    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        """The float64 values that the packed numbers stand for."""

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        """Why an array of this shape cannot be stored, or None."""
        return None

    def nbytes(self, shape: tuple[int, ...]) -> float:
        """Bytes that an array of this shape takes, scales included."""
        return math.prod(shape) * self.bits / 8

    def rows(self, packed: Any, which: slice | Shaped[np.ndarray, "count"]) -> Any:
        """The packed values of some rows, counted along the first axis."""
        return rows(packed, which)


class Plain(Format):
    """A format that is one NumPy dtype, element by element."""

    dtype: ClassVar[Any]
    roles = ("weight", "kv", "activation")

    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        return np.asarray(values).astype(self.dtype, copy=False)

    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        return np.asarray(packed).astype(np.float64)


class PerRow(Format):
    """Narrow values under one scale per row, the last axis: `{"values": (..., k), "scales": (..., 1) float32}`.

    The scale takes the row's largest magnitude to the largest that the dtype holds. For weights a row is an output
    channel, for a cache it is one token of one head.
    """

    dtype: ClassVar[Any]
    largest: ClassVar[float]
    roles = ("weight", "kv")

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


class FourBit(Format):
    """Codes of four bits under one scale per group of the last axis: `{"values": (..., k/2) uint8, "scales": (..., k/group)}`.

    Of each 32 elements, the low halves of 16 bytes hold the first 16, in order, and the high halves the others: the
    order of `block_q4_0` and `block_mxfp4` in GGML (ggml-common.h), in which both unpack without a shuffle.
    """

    bits = 4
    group: ClassVar[int]
    scale_bytes: ClassVar[int]

    @abstractmethod
    def scales(self, magnitudes: Float[np.ndarray, "..."]) -> np.ndarray:
        """The stored scale of groups whose largest magnitude is given."""

    @abstractmethod
    def scale_values(self, scales: np.ndarray) -> Float[np.ndarray, "..."]:
        """What stored scales stand for, in a float type that holds it exactly."""

    @abstractmethod
    def encoded(self, scaled: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
        """The codes of values over their scale. NaN has none, and is carried by its scale."""

    @abstractmethod
    def decoded(self, codes: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        """The float64 values of codes, without a scale."""

    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        if reason := self.refuses(np.shape(values)):
            raise ValueError(reason)
        groups = np.asarray(values, np.float32).reshape(*values.shape[:-1], values.shape[-1] // self.group, self.group)
        scales = self.scales(np.abs(groups).max(-1))
        # A group of infinite scale has no finite values, and says so by its scale.
        with np.errstate(invalid="ignore"):
            scaled = groups / self.scale_values(scales).astype(np.float32)[..., None]
        low, high = np.moveaxis(self.encoded(scaled).reshape(*values.shape[:-1], values.shape[-1] // 32, 2, 16), -2, 0)
        return {"values": (low | high << 4).reshape(*values.shape[:-1], values.shape[-1] // 2), "scales": scales}

    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        halves = np.asarray(packed["values"])
        axes, k = halves.shape[:-1], 2 * halves.shape[-1]
        halves = halves.reshape(*axes, k // 32, 1, 16)
        values = self.decoded(np.concatenate([halves & 15, halves >> 4], axis=-2)).reshape(*axes, k // self.group, self.group)
        return (values * self.scale_values(np.asarray(packed["scales"]))[..., None]).reshape(*axes, k)

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        return not_a_multiple(self.name, self.group, shape)

    def nbytes(self, shape: tuple[int, ...]) -> float:
        return super().nbytes(shape) + self.scale_bytes * math.prod(shape[:-1]) * math.ceil(shape[-1] / self.group)


class Int4(FourBit):
    """The integers -7 to 7, stored as 1 to 15, times a float16 scale per group.

    Symmetric: the scale takes the group's largest magnitude to 7. GGML's Q4_0 takes it to -8 instead. Groups whose
    magnitudes exceed 7 times float16's largest, 65504, become NaN.
    """

    scale_bytes = 2
    # Half a step of 1/7 of the group's maximum, and what rounding the scale up to float16 adds.
    epsilon = 0.5 / 7 * (1 + 2.0**-9)

    def scales(self, magnitudes: Float[np.ndarray, "..."]) -> np.ndarray:
        exact = np.where(magnitudes == 0, np.float32(1), magnitudes / np.float32(7))
        with np.errstate(over="ignore"):
            rounded = exact.astype(np.float16)
        return np.where(rounded < exact, np.nextafter(rounded, np.float16(np.inf)), rounded)

    def scale_values(self, scales: np.ndarray) -> Float[np.ndarray, "..."]:
        return scales.astype(np.float64)

    def encoded(self, scaled: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
        return (np.nan_to_num(np.rint(scaled)) + 8).astype(np.uint8)

    def decoded(self, codes: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return codes.astype(np.float64) - 8


def scales_for(magnitudes: Float[np.ndarray, "..."], largest: float) -> Float[np.ndarray, "..."]:
    """The least float32 scales of 16 significant bits under which no magnitude exceeds `largest`; 1 for zeros.

    Products of such a scale with a value of 8 bits are exact in float32, so that packing what was packed changes nothing.
    """
    scales = np.where(magnitudes == 0, np.float32(1), magnitudes / np.float32(largest)).astype(np.float32)
    finite = np.isfinite(scales)
    rounded_up = (scales.view(np.uint32) + np.uint32(0xFF)) & np.uint32(0xFFFFFF00)
    return np.where(finite, rounded_up.view(np.float32), scales)


def not_a_multiple(name: str, group: int, shape: tuple[int, ...]) -> str | None:
    """Why the last axis cannot be cut into groups, or None."""
    if not shape:
        return f"{name} needs an axis; got a single number"
    return f"the last axis must be a multiple of {group} for {name}; got {shape[-1]}" if shape[-1] % group else None


def rows(packed: Any, which: slice | np.ndarray | tuple[slice | np.ndarray, ...]) -> Any:
    """Some rows of one array, or of each in a dict, counted along the first axis (first axes for a tuple)."""
    return {name: rows(part, which) for name, part in packed.items()} if isinstance(packed, dict) else packed[which]
