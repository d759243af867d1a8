"""The most that a file may say of anything that is counted, so that no answer waits for what no machine or model has."""

from __future__ import annotations

from collections.abc import Mapping

MOST_OF_ANY = 10**6
MOST: Mapping[str, int] = {
    "layers": 10_000,
    "experts": 4_096,
    "top_k": 32,
    "shared_experts": 64,
    "groups": 16,
    "vocab": 10**8,
    "max_context": 10**9,
    "size": 10**9,
    "scale_dim": 10**12,
}
"""Field of a model -> its bound, where that is not `MOST_OF_ANY`. The largest published models stay well below."""

LEAST_FIGURE, MOST_FIGURE = 1e-6, 1e12
"""Of a machine, in whatever unit."""


def most(field: str) -> int:
    """The bound of a field of a model."""
    return MOST.get(field, MOST_OF_ANY)
