"""A kernel's program, compiled ahead of time."""

from __future__ import annotations

import functools
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax

from ...kernels.op import Implementation, Workload
from .compile_cache import found_since, lookups
from .spent import compiling


@dataclass(frozen=True)
class Compiled:
    """A lowered and compiled program with how long that took.

    Attributes:
        program: the compiled executable.
        lower_s, compile_s: seconds of tracing and lowering, and of compiling.
        cache: `warm` if the program was loaded from the cache on disk instead, `cold` if it was not there, "" without a cache.
    """

    program: Any
    lower_s: float
    compile_s: float
    cache: str = ""


def compile_call(workload: Workload, one: Implementation, packed: Mapping[str, Any]) -> Compiled:
    """Lowers and compiles a single call of an implementation on operands of such shapes, donating what the op donates."""
    with compiling():
        start = time.perf_counter()
        call = jax.jit(functools.partial(one.function, workload), donate_argnames=workload.donated)
        lowered = call.lower(**jax.tree.map(spec, dict(packed)))
        lowered_at, before = time.perf_counter(), lookups()
        program = lowered.compile()
    return Compiled(program, lowered_at - start, time.perf_counter() - lowered_at, found_since(before))


def spec(array: Any) -> jax.ShapeDtypeStruct:
    """What a program is compiled for, of an array."""
    return jax.ShapeDtypeStruct(array.shape, array.dtype)
