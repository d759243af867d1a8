"""GEMV head by head on a CPU, at the speed of its memory."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from ..ffi import Kernel, kernel, unusable
from ..gemv.cpu import grain, row_products
from ..op import implementation
from ..plain import refusal
from .workload import HeadGemv


@cache
def _of_heads(rows: Kernel) -> Kernel:
    """Makes the kernel that counts rows through all heads from the one of a single matrix."""
    dot_rows = rows.body

    def dot_head_rows(start, stop, values, scales, x, y):
        n = y.shape[1]
        for head in range(start // n, (stop - 1) // n + 1):
            first, last = max(start - head * n, 0), min(stop - head * n, n)
            dot_rows(first, last, values[head], scales[head], x[head], y[head])

    dot_head_rows.__name__ = f"{dot_rows.__name__}_of_heads"
    return kernel(dot_head_rows)


def _refuses(workload: HeadGemv) -> str | None:
    return refusal(workload, decodes="weight")


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(
    workload: HeadGemv, *, weight: Float[Array, "heads n k"] | dict[str, Array], x: Float[Array, "heads k"]
) -> Float[Array, "heads n"]:
    """Each weight is read once and widened to float32 in a register; sums are float32, and scales multiply sums."""
    parts = row_products(workload.weight_format, weight, x, workload.activation_format)
    y = _of_heads(parts.kernel)(
        parts.values,
        parts.scales,
        parts.factors,
        results=jax.ShapeDtypeStruct((workload.heads, workload.n), jnp.float32),
        units=workload.heads * workload.n,
        grain=grain(parts.values),
    )
    return (y * parts.of_rows).astype(x.dtype)
