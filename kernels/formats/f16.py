"""IEEE 754 binary16."""

import numpy as np

from .base import Plain


class _F16(Plain):
    name, bits, epsilon, dtype = "f16", 16, 2.0**-11, np.float16


FORMAT = _F16()
