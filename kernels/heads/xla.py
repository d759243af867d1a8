"""GEMV head by head in plain JAX."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, Num

from ..formats import format_named
from ..formats.base import PerRow, Plain
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import HeadGemv


def _refuses_f32(workload: HeadGemv) -> str | None:
    if workload.weight_format == "f32":
        return "weight is f32, which xla.dot reads without a conversion"
    if isinstance(format_named(workload.weight_format), Plain | PerRow):
        return None
    return f"weight must be one array, or have one scale per row; got {workload.weight_format}"


@implementation(priority=1, refuses=_refuses_f32)
def row_sum(
    workload: HeadGemv, *, weight: Num[Array, "heads n k"] | dict[str, Num[Array, "heads n _"]], x: Float[Array, "heads k"]
) -> Float[Array, "heads n"]:
    """Multiplies a row and adds it up, in one pass that up-casts in registers: XLA's CPU dot writes a bfloat16
    matrix to memory as float32 first. The scale of a row multiplies its sum.
    """
    values = weight["values"] if isinstance(weight, dict) else weight
    y: Float32[Array, "heads n"] = (values.astype(jnp.float32) * x[:, None].astype(jnp.float32)).sum(-1)
    if isinstance(weight, dict):
        y = y * weight["scales"][..., 0]
    return y.astype(dtype_of(workload.activation_format))


@implementation(refuses=refusal)
def dot(workload: HeadGemv, *, weight: Float[Array, "heads n k"], x: Float[Array, "heads k"]) -> Float[Array, "heads n"]:
    """The batched product as one writes it; the widest rounding that a backend would take by itself is switched off."""
    if weight.dtype != x.dtype:
        weight, x = weight.astype(jnp.float32), x.astype(jnp.float32)
    y = jnp.einsum("hnk,hk->hn", weight, x, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    return y.astype(dtype_of(workload.activation_format))
