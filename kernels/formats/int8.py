"""8-bit integers, symmetric, with a float32 scale per row: per output channel of a weight, per token and head of a cache."""

import numpy as np
from jaxtyping import Float

from .base import PerRow


class _Int8(PerRow):
    # Half a step of 1/127 of the row's maximum, and what rounding the scale up to 16 bits adds.
    name, bits, epsilon, dtype, largest = "int8", 8, 0.5 / 127 * (1 + 2.0**-14), np.int8, 127

    def _encoded(self, scaled: Float[np.ndarray, "..."]) -> np.ndarray:
        # NaN has no integer: the scale of its row is NaN, and carries it.
        return np.nan_to_num(np.rint(scaled)).astype(np.int8)


FORMAT = _Int8()
