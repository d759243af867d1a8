"""How fast a core goes just now, and that the core which calls is the one that computes."""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import cache

import jax
import jax.numpy as jnp

from .spent import compiling
from .wake import empty_call

_LENGTH = 256
"""Numbers that a turn adds up: they stay in registers and the first cache, and take a tenth of a microsecond."""
_TURNS = 8192
"""Of a sample, which then takes a millisecond: short against how long a neighbour of the core stays."""


def compute_where_called() -> None:
    """Lets a CPU's calls run on the thread that makes them, so that what is timed one after the other meets one core.

    JAX would hand all but the smallest to a thread of its own, which may wake on another core at every call. Each core of a
    shared machine has its own neighbours: a probe beside a call then says nothing about it.

    To be said before JAX first computes.
    """
    jax.config.update("jax_cpu_enable_async_dispatch", False)


@cache
def core_probe() -> Callable[[], float]:
    """Compiled once per process: takes a sample, in turns per microsecond of a loop that adds up a few numbers on one core.

    Whoever shares a physical core slows what runs in cache by 1.4 to 1.7, for tenths of a second at a time, while reads from
    memory and arithmetic on all cores hardly show it.
    """

    def turn(number: jax.Array, values: jax.Array) -> jax.Array:
        # Each turn needs the one before, and no value ever grows.
        return values * 0.999 + jnp.sum(values) * 1e-9

    values = jnp.zeros(_LENGTH)
    with compiling():
        program = jax.jit(lambda values: jax.lax.fori_loop(0, _TURNS, turn, values)).lower(values).compile()
    jax.block_until_ready(program(values))

    def sample() -> float:
        empty_call()()
        start = time.perf_counter()
        jax.block_until_ready(program(values))
        return _TURNS / (time.perf_counter() - start) / 1e6

    return sample
