"""A call of an empty program: it tells what a dispatch takes, and wakes what a timed call should find awake."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp

from .spent import compiling
from .timer import Call


@cache
def empty_call() -> Call:
    """Compiled once per process.

    After a probe has read the memory through, the code that dispatches is in no cache and XLA's threads sleep, so that whatever
    is called first takes a fifth of a millisecond more than what is called next: a tenth of a sample. In a decode step one
    kernel follows on another, and none is dispatched. So an empty call goes before each that is timed.
    """
    with compiling():
        x = jnp.zeros(())
        program = jax.jit(lambda x: x + 1).lower(x).compile()
    return lambda: jax.block_until_ready(program(x))
