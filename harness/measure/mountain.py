"""Working sets of every size are read again and again, to find where each cache ends and how fast it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from .budget import SMALLEST_BYTES
from .cache_levels import Mountain
from .reading import WORD_BYTES, buffer, reading
from .ready_call import ReadyCall
from .timer import Timer

ROUNDS = 7
"""Samples of each size, all sizes by turns in random order."""
SAMPLE_BYTES = 2**25
"""Read by a sample at the least: a tenth of a millisecond in the fastest cache, far above a dispatch."""


def working_sets(largest_bytes: float) -> list[int]:
    """Sizes in bytes, two for each doubling, from the smallest to the largest that is not above `largest_bytes`."""
    count = int(2 * np.log2(max(largest_bytes, SMALLEST_BYTES) / SMALLEST_BYTES) + 1e-9)
    return [round(SMALLEST_BYTES * 2 ** (step / 2) / WORD_BYTES) * WORD_BYTES for step in range(count + 1)]


def measured(sizes: Sequence[int], timer: Timer) -> Mountain:
    """Reads working sets that all begin where one piece of memory does, which is let go of afterwards.

    Args:
        sizes: bytes of each, smallest first.
        timer: what times the reads.
    """
    source = buffer(sizes[-1])
    samples = [_sampler(size, jax.device_put(source[: size // WORD_BYTES]), timer) for size in sizes]
    rates = np.empty((len(sizes), ROUNDS))
    rng = np.random.default_rng(0)
    for number in range(ROUNDS):
        for place in rng.permutation(len(sizes)):
            rates[place, number] = samples[place]()
    low, middle, high = (tuple(np.quantile(rates, share, axis=1).tolist()) for share in (0.1, 0.5, 0.9))
    return Mountain(tuple(float(size) for size in sizes), middle, low, high)


def _sampler(size: int, source: jax.Array, timer: Timer) -> Callable[[], float]:
    repeats = max(1, SAMPLE_BYTES // size)
    call = ReadyCall(reading(size, repeats), kwargs={"source": source})

    def sample() -> float:
        # The working sets before this one have taken its place in the caches.
        call()
        return size * repeats / timer.seconds([call], None) / 1e9

    return sample
