"""Rotary embedding in float64."""

import numpy as np
from jaxtyping import Float

BASE = 10000.0
"""Base of the rotation frequencies (Su et al., arXiv:2104.09864); models with long contexts raise it."""


def rotate(x: Float[np.ndarray, "heads head_dim"], position: int, base: float = BASE) -> Float[np.ndarray, "heads head_dim"]:
    """Rotates the pairs (x[i], x[i + head_dim/2]) by position * base^(-2i/head_dim), the layout of GPT-NeoX and Llama."""
    half = x.shape[-1] // 2
    angle = float(position) * base ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    return np.concatenate(
        [first * np.cos(angle) - second * np.sin(angle), second * np.cos(angle) + first * np.sin(angle)], axis=-1
    )
