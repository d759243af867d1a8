"""Chosen experts on a CPU: read in place, at the speed of its memory."""

from __future__ import annotations

from functools import cache

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int32

from ..ffi import Kernel, kernel, unusable
from ..gemv.cpu import grain, row_products
from ..op import implementation
from ..plain import refusal
from .workload import Experts


@cache
def _dot_chosen(dot: Kernel) -> Kernel:
    """Makes the kernel that adds up products of the chosen experts' rows as `dot` does of one matrix's."""
    dot_rows = dot.body

    def dot_chosen(start, stop, values, scales, chosen, x, y):
        n = y.shape[1]
        for place in range(start // n, (stop - 1) // n + 1):
            first, last = max(start - place * n, 0), min(stop - place * n, n)
            expert = chosen[place]
            dot_rows(first, last, values[expert], scales[expert], x[min(place, x.shape[0] - 1)], y[place])

    dot_chosen.__name__ = f"chosen_{dot_rows.__name__}"
    return kernel(dot_chosen)


@cache
def _dot_combined(dot: Kernel) -> Kernel:
    """Makes the kernel that also adds up what the chosen experts give, each row times its factor, while it is in cache."""
    dot_rows = dot.body

    def dot_combined(start, stop, values, scales, chosen, x, of_rows, factors, products, y):
        y[start:stop] = 0
        for place in range(chosen.size):
            expert = chosen[place]
            own = min(expert, of_rows.shape[0] - 1)
            dot_rows(start, stop, values[expert], scales[expert], x[min(place, x.shape[0] - 1)], products[place])
            for row in range(start, stop):
                y[row] += factors[place] * of_rows[own, min(row, of_rows.shape[1] - 1)] * products[place, row]

    dot_combined.__name__ = f"combined_{dot_rows.__name__}"
    return kernel(dot_combined)


def _refuses(workload: Experts) -> str | None:
    return refusal(workload, decodes="weight")


@implementation(backends=("cpu",), priority=10, refuses=_refuses, missing=unusable)
def numba(
    workload: Experts,
    *,
    weight: Float[Array, "experts n k"] | dict[str, Array],
    chosen: Int32[Array, "top_k"],
    x: Float[Array, "*own k"],
    factors: Float[Array, "top_k"] | None = None,
) -> Float[Array, "*top_k n"]:
    """Each chosen weight is read once, where it stays."""
    parts = row_products(workload.weight_format, weight, x.reshape(-1, workload.k), workload.activation_format)
    operands = (parts.values, parts.scales, chosen, parts.factors)
    products = jax.ShapeDtypeStruct((workload.top_k, workload.n), jnp.float32)
    if factors is None:
        y = _dot_chosen(parts.kernel)(*operands, results=products, units=workload.top_k * workload.n, grain=grain(parts.values))
        of_rows = parts.of_rows[chosen] if parts.of_rows.ndim else parts.of_rows
        return (y * of_rows).astype(x.dtype)
    _, y = _dot_combined(parts.kernel)(
        *operands,
        parts.of_rows if parts.of_rows.ndim else parts.of_rows[None, None],
        factors.astype(jnp.float32),
        results=(products, jax.ShapeDtypeStruct((workload.n,), jnp.float32)),
        units=workload.n,
        grain=grain(parts.values),
    )
    return y.astype(x.dtype)
