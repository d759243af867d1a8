"""How fast the core that calls goes just now, and which kernels have no other."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp
import numpy as np

from .spent import compiling
from .wake import empty_call

_LENGTH = 256
"""Numbers that a turn adds up: they stay in the first cache, and take a tenth of a microsecond."""
_TURNS, _FIRST_TURNS = 8192, 2048
"""Of a sample, which then takes a millisecond, short against how long a neighbour of the core stays; and before it, for the
first turns after memory was swept, or after another kernel, find the code and the numbers in no cache."""
_ALONE, _TRIES = 0.9, 3
"""Of the processor's time that a sample takes: with so much on the thread that calls, no other computes."""


@cache
def core_probe() -> Callable[[], float]:
    """Compiled once per process: takes a sample, in turns per microsecond of a loop that adds up a few numbers on one core.

    Whoever shares a physical core slows what runs in cache, for tenths of a second at a time, while reads from memory and
    arithmetic on all cores hardly show it.
    """

    def turn(number: jax.Array, values: jax.Array) -> jax.Array:
        # Each turn needs the one before, and no value ever grows.
        return values * 0.999 + jnp.sum(values) * 1e-9

    values = jnp.zeros(_LENGTH)
    with compiling():
        loop = jax.jit(lambda turns, values: jax.lax.fori_loop(0, turns, turn, values))
        program = loop.lower(jax.ShapeDtypeStruct((), jnp.int32), values).compile()

    def seconds(turns: int) -> float:
        start = time.perf_counter()
        jax.block_until_ready(program(np.int32(turns), values))
        return time.perf_counter() - start

    def sample() -> float:
        empty_call()()
        seconds(_FIRST_TURNS)
        return _TURNS / seconds(_TURNS) / 1e6

    return sample


def is_alone(sample: Callable[[], float]) -> bool:
    """Whether samples are computed by the thread that calls, and by no other: one of a few says so, as others may be busy."""
    return any(_share_of_caller(sample) >= _ALONE for _ in range(_TRIES))


def _share_of_caller(sample: Callable[[], float]) -> float:
    """Of the processor's time that this process took meanwhile."""
    mine, all_threads = time.thread_time(), time.process_time()
    sample()
    spent = time.process_time() - all_threads
    return (time.thread_time() - mine) / spent if spent else 0.0
