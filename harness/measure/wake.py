"""What is called before a timed call, so that it finds awake what it would in a decode step, where kernel follows on kernel.

After a probe has read the memory through, the code that dispatches is in no cache and the threads that compute sleep: whatever
is called first takes up to a fifth of a millisecond more than what is called next.
"""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp

from .reading import buffer, reading
from .spent import compiling
from .timer import Call

_BYTES, _PASSES = 2**16, 50
"""Read by all threads together: some microseconds, in which the last of them wakes, and too little to fill a cache."""


@cache
def empty_call() -> Call:
    """A call of an empty program, compiled once per process: it tells what a dispatch takes, and wakes what dispatches."""
    with compiling():
        x = jnp.zeros(())
        program = jax.jit(lambda x: x + 1).lower(x).compile()
    return lambda: jax.block_until_ready(program(x))


@cache
def wake() -> Call:
    """Wakes all threads that compute, then what dispatches; compiled once per process."""
    program, source = reading(_BYTES, _PASSES), jax.device_put(buffer(_BYTES))
    dispatch = empty_call()

    def call() -> None:
        jax.block_until_ready(program(source=source))
        dispatch()

    return call
