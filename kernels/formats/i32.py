"""32-bit signed integers: token ids and positions."""

import numpy as np

from .base import Plain


class _I32(Plain):
    name, bits, epsilon, dtype = "i32", 32, 0.0, np.int32
    roles = ()


FORMAT = _I32()
