"""Multiply-adds on all threads of a CPU, in registers."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..ffi import PAIR, Kernel, kernel, lanes, unusable, vectors
from ..op import implementation
from .workload import FACTOR, TERM, Peak


def _multiply_add(pairs: int) -> Kernel:
    """Makes the kernel whose chains fill so many pairs of vectors: enough to hide the latency of a multiply-add, and
    not more than there are registers.
    """
    vectors_at_once = 2 * pairs

    def multiply_add(start, stop, x, y, repeats):
        factor, term = vectors.filled(FACTOR, 1), vectors.filled(TERM, vectors_at_once)
        for unit in range(start, stop):
            rows = lanes.rows_apart(unit * pairs, pairs, x.shape[0] - 1, 1, pairs)
            values = lanes.load_pairs(x, rows, 0, 1)
            for _ in range(repeats):
                values = vectors.add_products(term, values, factor)
            lanes.store_pairs(y, rows, 0, values)

    multiply_add.__name__ += f"_{pairs}"
    return kernel(multiply_add)


# Two units that take four cycles for a multiply-add want eight registers in flight: of 512 bits with AVX-512; of 256
# bits with AVX2, which has sixteen registers. NEON has 32 of 128 bits, and four units.
_WIDE, _NARROW = _multiply_add(4), _multiply_add(2)


def _refuses(workload: Peak) -> str | None:
    if workload.kind != "multiply_add":
        return f"kind must be multiply_add; got {workload.kind}"
    return None


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(workload: Peak, *, x: Float[Array, "n"]) -> Float[Array, "n"]:
    """Every chain is a lane of a vector that stays in a register for all its steps."""
    multiply_add, pairs = (_WIDE, 4) if _has_avx512() else (_NARROW, 2)
    units = -(-workload.size // (pairs * PAIR))
    rows = jnp.pad(x, (0, units * pairs * PAIR - workload.size)).reshape(-1, PAIR)
    result = jax.ShapeDtypeStruct(rows.shape, jnp.float32)
    return multiply_add(rows, results=result, units=units, repeats=workload.repeats).reshape(-1)[: workload.size]


def _has_avx512() -> bool:
    from llvmlite.binding import get_host_cpu_features

    return bool(get_host_cpu_features().get("avx512f"))
