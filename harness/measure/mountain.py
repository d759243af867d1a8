"""Working sets of every size are read again and again, to find where each cache ends and how fast it is."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import jax
import numpy as np

from ...kernels import check, room
from ...kernels.op import Implementation
from ...kernels.registry import supported
from ...kernels.stream import Stream
from .budget import SMALLEST_BYTES
from .cache_levels import Mountain
from .compiled import compile_call
from .ready_call import ReadyCall
from .timer import Timer

ROUNDS = 7
"""Samples of each size, all sizes by turns in random order."""
SAMPLE_BYTES = 2**25
"""Read by a sample at the least: a tenth of a millisecond in the fastest cache, far above a dispatch."""
_WORD = 4
"""Bytes of a float32."""


def working_sets(largest_bytes: float) -> list[int]:
    """Sizes in bytes, two for each doubling, from the smallest to the largest that is not above `largest_bytes`."""
    count = int(2 * np.log2(max(largest_bytes, SMALLEST_BYTES) / SMALLEST_BYTES) + 1e-9)
    return [round(SMALLEST_BYTES * 2 ** (step / 2) / _WORD) * _WORD for step in range(count + 1)]


def measured(sizes: Sequence[int], backend: str, timer: Timer) -> Mountain:
    """Reads working sets that all begin where one piece of memory does, which is let go of afterwards.

    Args:
        sizes: bytes of each, smallest first.
        backend: JAX's name of it.
        timer: what times the reads.
    """
    source = buffer(sizes[-1])
    samples = [_sampler(size, jax.device_put(source[: size // _WORD]), backend, timer) for size in sizes]
    rates = np.empty((len(sizes), ROUNDS))
    rng = np.random.default_rng(0)
    for number in range(ROUNDS):
        for place in rng.permutation(len(sizes)):
            rates[place, number] = samples[place]()
    low, middle, high = (tuple(np.quantile(rates, share, axis=1).tolist()) for share in (0.1, 0.5, 0.9))
    return Mountain(tuple(float(size) for size in sizes), middle, low, high)


def buffer(nbytes: float) -> np.ndarray:
    """Memory to read, which JAX takes over as it stands."""
    [source] = room.empty((int(nbytes) // _WORD,), np.float32)
    source.fill(1.0)
    return source


def reader(backend: str) -> Implementation:
    """The code that reads streams on a backend."""
    return next(one for one, refusal in supported(Stream(kind="read", elements=1), backend) if refusal is None)


def _sampler(size: int, source: jax.Array, backend: str, timer: Timer) -> Callable[[], float]:
    repeats = max(1, SAMPLE_BYTES // size)
    workload = Stream(kind="read", elements=size // _WORD, repeats=repeats)
    program = compile_call(workload, reader(backend), check.shapes(workload)).program
    call = ReadyCall(program, kwargs={"source": source})

    def sample() -> float:
        # The working sets before this one have taken its place in the caches.
        call()
        return size * repeats / timer.seconds([call], None) / 1e9

    return sample
