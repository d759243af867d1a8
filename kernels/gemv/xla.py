"""GEMV in plain JAX."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from ..decoded import decoded
from ..formats import format_named
from ..formats.base import Plain
from ..op import implementation
from ..plain import dtype_of, refusal
from ..thirds import thirds
from .around import fusing
from .workload import Gemv

_WIDEST_SUM = 32768
"""XLA's CPU reductions are fused with what feeds them up to this many elements; beyond it they are ten times slower."""


def _refuses_f32(workload: Gemv) -> str | None:
    if workload.weight_format == "f32":
        return "weight is f32, which xla.dot reads without a conversion"
    return refusal(workload)


def _refuses_other_than_bf16(workload: Gemv) -> str | None:
    return None if workload.weight_format == "bf16" else f"weight must be bf16; got {workload.weight_format}"


@implementation(priority=1, refuses=_refuses_f32)
@fusing
def row_sum(workload: Gemv, *, weight: Float[Array, "n k"], x: Float[Array, "k"]) -> Float[Array, "n"]:
    """Multiplies a row and adds it up, in one pass that up-casts in registers: XLA's CPU dot writes a bfloat16
    matrix to memory as float32 first. Rows too wide for the fused pass are cut into equal parts.
    """
    parts = next((p for p in range(1, 65) if workload.k % p == 0 and workload.k // p <= _WIDEST_SUM), 1)
    if parts > 1:
        # Without the barriers XLA merges the parts into the wide sum again.
        cut = (weight.reshape(workload.n, parts, -1), x.reshape(parts, -1))
        weight, x = lax.optimization_barrier(cut)
    y = (weight.astype(jnp.float32) * x.astype(jnp.float32)).sum(-1)
    if parts > 1:
        y = lax.optimization_barrier(y).sum(-1)
    return y.astype(dtype_of(workload.activation_format))


def _refuses_plain(workload: Gemv) -> str | None:
    if isinstance(format_named(workload.weight_format), Plain):
        return f"weight is {workload.weight_format}, which xla.row_sum widens"
    return refusal(workload, decodes="weight")


@implementation(refuses=_refuses_plain)
@fusing
def decoded_sum(workload: Gemv, *, weight: dict[str, Array], x: Float[Array, "k"]) -> Float[Array, "n"]:
    """Decodes a row, multiplies it and adds it up, in one pass."""
    y = (decoded(workload.weight_format, weight) * x.astype(jnp.float32)).sum(-1)
    return y.astype(dtype_of(workload.activation_format))


@implementation(refuses=refusal)
@fusing
def dot(workload: Gemv, *, weight: Float[Array, "n k"], x: Float[Array, "k"]) -> Float[Array, "n"]:
    """The dot product as one writes it; the widest rounding that a backend would take by itself is switched off."""
    if weight.dtype != x.dtype:
        weight, x = weight.astype(jnp.float32), x.astype(jnp.float32)
    y = jnp.dot(weight, x, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    return y.astype(dtype_of(workload.activation_format))


@implementation(refuses=_refuses_other_than_bf16)
@fusing
def split_dot(workload: Gemv, *, weight: Float[Array, "n k"], x: Float[Array, "k"]) -> Float[Array, "n"]:
    """A bfloat16 matrix product with the vector's three thirds: matrix units see no float32, and nothing is rounded away."""
    columns = jnp.stack(thirds(x.astype(jnp.float32)), axis=-1)
    y = jnp.dot(weight, columns, preferred_element_type=jnp.float32).sum(-1)
    return y.astype(dtype_of(workload.activation_format))
