"""Chosen experts on a CPU: read in place, at the speed of its memory."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from ..ffi import kernel, unusable
from ..gemv.cpu import GRAIN_BYTES, dot_rows
from ..op import implementation
from ..plain import refusal
from .workload import Experts
from .xla import finished

_dot_rows = dot_rows.body


@kernel
def dot_chosen_rows(start, stop, weight, chosen, x, y):
    """The products of rows [start, stop) of the chosen experts, counted through all of them."""
    n = y.shape[1]
    for place in range(start // n, (stop - 1) // n + 1):
        first, last = max(start - place * n, 0), min(stop - place * n, n)
        _dot_rows(first, last, weight[chosen[place]], x[min(place, x.shape[0] - 1)], y[place])


def _refuses(workload: Experts) -> str | None:
    if workload.weight_format not in ("f32", "bf16"):
        return f"weight_format must be f32 or bf16; got {workload.weight_format}"
    return refusal(workload)


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(
    workload: Experts,
    *,
    weight: Float[Array, "experts n k"],
    chosen: Int32[Array, "top_k"],
    x: Float[Array, "... k"],
    factors: Float[Array, "top_k"] | None = None,
) -> Float[Array, "*top_k n"]:
    """Each chosen weight is read once, where it stays; what is added up at the end is in cache."""
    y = dot_chosen_rows(
        weight,
        chosen,
        x.astype(jnp.float32).reshape(-1, 1, workload.k),
        results=jax.ShapeDtypeStruct((workload.top_k, workload.n), jnp.float32),
        units=workload.top_k * workload.n,
        grain=GRAIN_BYTES // (workload.k * weight.dtype.itemsize),
    )
    return finished(workload, y, factors)
