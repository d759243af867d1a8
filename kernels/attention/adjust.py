"""What the CPU kernel does to vectors of scores; a kernel is made of those that its call needs, and pays for no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..ffi import LANES, helper, lanes, vectors


@helper
def squashed(scores, cap):
    """The scores as cap tanh(scores / cap), by exponentials of what is not positive."""
    x = scores * vectors.filled(1 / cap, 1)
    size = vectors.larger(x, vectors.filled(0, 1) - x)
    up, down = vectors.exp(x - size), vectors.exp(vectors.filled(0, 1) - x - size)
    return vectors.filled(cap, 1) * (up - down) / (up + down)


@helper
def biased(scores, bias, index):
    """A vector of scores, each with its own bias from an index on."""
    return scores + lanes.load(bias, index)


@helper
def as_they_are(scores, _other, _index=0):
    """The vector that is given."""
    return scores


@helper
def scaled(numbers, scales, index):
    """A vector of scores or weights, each times its own scale from an index on."""
    return numbers * lanes.load(scales, index)


def spread(queries: int) -> Callable[..., Any]:
    """Makes the function that repeats the scales of a chunk's tokens for every query, and the last one to a whole vector."""

    @helper
    def spread(room, scales, first, count):
        for index in range((count * queries + LANES - 1) // LANES * LANES):
            room[index] = scales[first + min(index // queries, count - 1)]

    return spread


@helper
def no_spread(_room, _scales, _first, _count):
    """Does nothing, where there are no scales."""
