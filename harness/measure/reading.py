"""Plain reads of memory, which probes, and what wakes threads, are made of."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ...kernels import check, room
from ...kernels.op import Implementation
from ...kernels.registry import supported
from ...kernels.stream import Stream
from .compiled import compile_call

WORD_BYTES = 4
"""Of a float32."""


def buffer(nbytes: float) -> np.ndarray:
    """Memory to read, which JAX takes over as it stands."""
    [source] = room.empty((int(nbytes) // WORD_BYTES,), np.float32)
    source.fill(1.0)
    return source


def reader(backend: str) -> Implementation:
    """The code that reads streams on a backend."""
    return next(one for one, refusal in supported(Stream(kind="read", elements=1), backend) if refusal is None)


def reading(nbytes: float, repeats: int = 1) -> Callable[..., Any]:
    """A program that reads so many bytes so often: called with `source`, an array of them."""
    workload = Stream(kind="read", elements=int(nbytes) // WORD_BYTES, repeats=repeats)
    return compile_call(workload, reader(jax.default_backend()), check.shapes(workload)).program
