"""FP8 E4M3 (finite, OCP 8-bit floating point specification 1.0) with a float32 scale per row. A row with a NaN is all NaN."""

import ml_dtypes

from .base import PerRow


class _Fp8(PerRow):
    name, bits, epsilon, dtype, largest = "fp8", 8, 2.0**-4, ml_dtypes.float8_e4m3fn, 448


FORMAT = _Fp8()
