"""FP8 E4M3 with a float32 scale per block of 128 x 128: the weights of DeepSeek-V3 (arXiv:2412.19437, section 3.3)."""

import math
from typing import Any

import ml_dtypes
import numpy as np
from jaxtyping import Float, Shaped

from .base import Format, not_a_multiple, scales_for

_BLOCK = 128


class _Fp8Block(Format):
    """`{"values": (..., n, k), "scales": (..., n/128, k/128) float32}`; the last block of rows may be smaller."""

    name, bits, epsilon, band = "fp8_block", 8, 2.0**-4, _BLOCK

    def pack(self, values: Float[np.ndarray, "..."]) -> Any:
        if reason := self.refuses(np.shape(values)):
            raise ValueError(reason)
        values = np.asarray(values, np.float32)
        *axes, n, k = values.shape
        padding = [(0, 0)] * len(axes) + [(0, -n % _BLOCK), (0, 0)]
        blocks = np.pad(np.abs(values), padding).reshape(*axes, math.ceil(n / _BLOCK), _BLOCK, k // _BLOCK, _BLOCK)
        scales = scales_for(blocks.max((-3, -1)), 448)
        return {"values": (values / _spread(scales, n)).astype(ml_dtypes.float8_e4m3fn), "scales": scales}

    def unpack(self, packed: Any) -> Float[np.ndarray, "..."]:
        values = np.asarray(packed["values"]).astype(np.float64)
        return values * _spread(np.asarray(packed["scales"]), values.shape[-2])

    def refuses(self, shape: tuple[int, ...]) -> str | None:
        if len(shape) < 2:
            return f"{self.name} needs two axes, whose blocks share a scale; got {len(shape)}"
        return not_a_multiple(self.name, _BLOCK, shape)

    def nbytes(self, shape: tuple[int, ...]) -> float:
        *axes, n, k = shape
        return super().nbytes(shape) + 4 * math.prod(axes) * math.ceil(n / _BLOCK) * math.ceil(k / _BLOCK)

    def rows(self, packed: Any, which: slice | Shaped[np.ndarray, "count"]) -> Any:
        """The rows of a matrix.

        Raises:
            ValueError: if 128 consecutive rows of the result do not come from one band of 128.
        """
        numbers = np.arange(len(packed["values"]))[which]
        bands = numbers[::_BLOCK] // _BLOCK
        if (numbers // _BLOCK != bands.repeat(_BLOCK)[: len(numbers)]).any():
            raise ValueError(f"rows of {self.name} must be taken in whole bands of {_BLOCK}, or within one")
        return {"values": packed["values"][which], "scales": packed["scales"][bands]}


def _spread(scales: Float[np.ndarray, "..."], n: int) -> Float[np.ndarray, "..."]:
    """The scale of every element of `n` rows."""
    return scales.repeat(_BLOCK, -2)[..., :n, :].repeat(_BLOCK, -1)


FORMAT = _Fp8Block()
