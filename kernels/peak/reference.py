"""Peak probes in float64."""

import numpy as np
from jaxtyping import Float


def chain(x: Float[np.ndarray, "n"], factor: float, term: float, steps: int) -> Float[np.ndarray, "n"]:
    """`steps` times x = x * factor + term, in closed form: each step shrinks the distance to the fixed point by `factor`."""
    fixed = term / (1 - factor)
    return fixed + (x - fixed) * factor**steps


def products(left: Float[np.ndarray, "n n"], right: Float[np.ndarray, "n n"], repeats: int) -> Float[np.ndarray, "n n"]:
    """`repeats` times left = left right / sqrt(n)."""
    for _ in range(repeats):
        left = left @ right / np.sqrt(right.shape[0])
    return left
