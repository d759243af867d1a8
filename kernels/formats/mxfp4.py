"""MXFP4: groups of 32 E2M1 numbers under a power of two (OCP Microscaling Formats specification 1.0), 4.25 bits per element."""

import ml_dtypes
import numpy as np
from jaxtyping import Float, UInt8

from .base import FourBit

_LARGEST = 6
"""Of E2M1, whose magnitudes are 0, 0.5, 1, 1.5, 2, 3, 4 and 6."""
_BIAS, _NAN = 127, 255
"""Of E8M0, a power of two's exponent as a byte."""


class _MXFP4(FourBit):
    """The scale is the largest power of two in the group over that in E2M1, which is 4 (section 6.3).

    So magnitudes from 6 to 8 scales become 6, an error of a quarter at the most. The least scale is 2^-126, which is
    a normal float32; infinity becomes NaN.
    """

    name, group, scale_bytes, epsilon = "mxfp4", 32, 1, 0.25

    def scales(self, magnitudes: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
        # frexp's mantissa is in [1/2, 1), so that the largest power of two is one below its exponent.
        exponents = np.frexp(magnitudes)[1] - 1 - 2 + _BIAS
        return np.where(np.isfinite(magnitudes), np.maximum(exponents, 1), _NAN).astype(np.uint8)

    def scale_values(self, scales: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return np.where(scales == _NAN, np.nan, np.ldexp(1.0, scales.astype(np.int32) - _BIAS))

    def encoded(self, scaled: Float[np.ndarray, "..."]) -> UInt8[np.ndarray, "..."]:
        within = np.clip(np.nan_to_num(scaled), -_LARGEST, _LARGEST)
        return within.astype(ml_dtypes.float4_e2m1fn).view(np.uint8) & 15

    def decoded(self, codes: UInt8[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
        return codes.view(ml_dtypes.float4_e2m1fn).astype(np.float64)


FORMAT = _MXFP4()
