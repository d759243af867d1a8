"""Chosen experts in plain JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Float32, Int32

from ..decoded import decoded
from ..gemv import Gemv
from ..gemv import xla as gemv
from ..op import implementation
from ..plain import dtype_of, refusal
from .workload import Experts


def finished(
    workload: Experts, y: Float32[Array, "top_k n"], factors: Float[Array, "top_k"] | None
) -> Float[Array, "*top_k n"]:
    """The products as the workload wants them: added up or not, in its format."""
    if factors is not None:
        y = (factors.astype(jnp.float32)[:, None] * y).sum(0)
    return y.astype(dtype_of(workload.activation_format))


def _refuses_wide_copies(workload: Experts) -> str | None:
    if workload.weight_format != "f32" and jax.__version_info__ < (0, 12):
        return "before jax 0.12, XLA on CPU widens all experts to slice one"
    return refusal(workload)


@implementation(backends=("cpu",), priority=1, refuses=_refuses_wide_copies)
def one_by_one(
    workload: Experts,
    *,
    weight: Float[Array, "experts n k"],
    chosen: Int32[Array, "top_k"],
    x: Float[Array, "*own k"],
    factors: Float[Array, "top_k"] | None = None,
) -> Float[Array, "*top_k n"]:
    """A loop over the chosen, so that the copy which XLA on CPU makes of a slice is one expert's, and may stay in cache."""
    matrix = Gemv(n=workload.n, k=workload.k, weight_format=workload.weight_format)

    def product(one: tuple[Int32[Array, ""], Float[Array, "k"]]) -> Float32[Array, "n"]:
        expert, vector = one
        return gemv.row_sum.function(
            matrix, weight=lax.dynamic_index_in_dim(weight, expert, keepdims=False), x=vector.astype(jnp.float32)
        )

    return finished(workload, lax.map(product, (chosen, jnp.broadcast_to(x, (workload.top_k, workload.k)))), factors)


@implementation(refuses=lambda workload: refusal(workload, decodes="weight"))
def gather(
    workload: Experts,
    *,
    weight: Float[Array, "experts n k"] | dict[str, Array],
    chosen: Int32[Array, "top_k"],
    x: Float[Array, "*own k"],
    factors: Float[Array, "top_k"] | None = None,
) -> Float[Array, "*top_k n"]:
    """The gather as one writes it, but of bits: XLA on CPU may widen all experts to gather from them, and copies the chosen."""
    picked = decoded(workload.weight_format, jax.tree.map(lambda part: _chosen_bits(part, chosen), weight))
    x = jnp.broadcast_to(x.astype(jnp.float32), (workload.top_k, workload.k))
    return finished(workload, (picked * x[:, None]).sum(-1), factors)


def _chosen_bits(array: Array, chosen: Int32[Array, "top_k"]) -> Array:
    bits = array.view(f"uint{8 * array.dtype.itemsize}").at[chosen].get(mode="promise_in_bounds")
    return bits.view(array.dtype)
