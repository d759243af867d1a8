"""bfloat16: the upper half of a binary32, 8 bits of significand."""

import ml_dtypes

from .base import Plain


class _BF16(Plain):
    name, bits, epsilon, dtype = "bf16", 16, 2.0**-8, ml_dtypes.bfloat16


FORMAT = _BF16()
