"""GEMV head by head on a CPU, at the speed of its memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..ffi import kernel, unusable
from ..gemv.cpu import GRAIN_BYTES, dot_rows
from ..op import implementation
from ..plain import refusal
from .workload import HeadGemv

_dot_rows = dot_rows.body


@kernel
def dot_head_rows(start, stop, weight, x, y):
    """The products of rows [start, stop), counted through all heads."""
    n = y.shape[1]
    for head in range(start // n, (stop - 1) // n + 1):
        first, last = max(start - head * n, 0), min(stop - head * n, n)
        _dot_rows(first, last, weight[head], x[head], y[head])


def _refuses(workload: HeadGemv) -> str | None:
    if workload.weight_format not in ("f32", "bf16"):
        return f"weight_format must be f32 or bf16; got {workload.weight_format}"
    return refusal(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(workload: HeadGemv, *, weight: Float[Array, "heads n k"], x: Float[Array, "heads k"]) -> Float[Array, "heads n"]:
    """Each weight is read once and widened to float32 in a register; sums are float32."""
    y = dot_head_rows(
        weight,
        x.astype(jnp.float32)[:, None],
        results=jax.ShapeDtypeStruct((workload.heads, workload.n), jnp.float32),
        units=workload.heads * workload.n,
        grain=GRAIN_BYTES // (workload.k * weight.dtype.itemsize),
    )
    return y.astype(x.dtype)
