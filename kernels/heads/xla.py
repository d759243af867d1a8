"""GEMV head by head in plain JAX."""

import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float

from ..decoded import decoded
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import HeadGemv


def _refuses_f32(workload: HeadGemv) -> str | None:
    if workload.weight_format == "f32":
        return "weight is f32, which xla.dot reads without a conversion"
    return refusal(workload, decodes="weight")


@implementation(priority=1, refuses=_refuses_f32)
def row_sum(
    workload: HeadGemv, *, weight: Float[Array, "heads n k"] | dict[str, Array], x: Float[Array, "heads k"]
) -> Float[Array, "heads n"]:
    """Decodes a row, multiplies it and adds it up, in one pass: XLA's CPU dot writes a bfloat16 matrix to memory as
    float32 first.
    """
    y = (decoded(workload.weight_format, weight) * x[:, None].astype(jnp.float32)).sum(-1)
    return y.astype(dtype_of(workload.activation_format))


@implementation(refuses=refusal)
def dot(workload: HeadGemv, *, weight: Float[Array, "heads n k"], x: Float[Array, "heads k"]) -> Float[Array, "heads n"]:
    """The batched product as one writes it; the widest rounding that a backend would take by itself is switched off."""
    if weight.dtype != x.dtype:
        weight, x = weight.astype(jnp.float32), x.astype(jnp.float32)
    y = jnp.einsum("hnk,hk->hn", weight, x, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
    return y.astype(dtype_of(workload.activation_format))
