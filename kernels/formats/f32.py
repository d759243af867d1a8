"""IEEE 754 binary32."""

import numpy as np

from .base import Plain


class _F32(Plain):
    name, bits, epsilon, dtype = "f32", 32, 2.0**-24, np.float32


FORMAT = _F32()
