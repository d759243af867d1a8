"""Peak arithmetic in plain JAX."""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int

from ..op import implementation
from .workload import FACTOR, TERM, Peak

STEPS = 128
"""Multiply-adds in one fusion, so that its loop over memory is nothing beside them."""


def _other_than(kind: str) -> Callable[[Peak], str | None]:
    return lambda workload: None if workload.kind == kind else f"this is a {kind}, not a {workload.kind}"


@implementation(refuses=_other_than("matmul"))
def dot(workload: Peak, *, left: Float[Array, "n n"], right: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """`jnp.dot`. A float32 product is truly of float32: the default precision would be tf32 or bf16 on some devices."""
    precision = lax.Precision.HIGHEST if workload.format == "f32" else lax.Precision.DEFAULT

    def step(_: Int[Array, ""], product: Float[Array, "n n"]) -> Float[Array, "n n"]:
        sums = jnp.dot(product, right, precision=precision, preferred_element_type=jnp.float32)
        return (sums / math.sqrt(workload.size)).astype(left.dtype)

    return lax.fori_loop(0, workload.repeats, step, left)


@implementation(refuses=_other_than("multiply_add"))
def unrolled(workload: Peak, *, x: Float[Array, "n"]) -> Float[Array, "n"]:
    """Fusions of many steps each."""

    def step(_: Int[Array, ""], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return y * FACTOR + TERM

    def steps(_: Int[Array, ""], y: Float[Array, "n"]) -> Float[Array, "n"]:
        return lax.fori_loop(0, STEPS, step, y, unroll=True)

    whole, rest = divmod(workload.repeats, STEPS)
    return lax.fori_loop(0, rest, step, lax.fori_loop(0, whole, steps, x), unroll=True)
