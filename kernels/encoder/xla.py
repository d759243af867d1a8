"""An encoder's forward pass in plain JAX."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax import Array, lax
from jaxtyping import Float, Int

from ..decoded import decoded, decoded_row
from ..dispatch import compute, refusal
from ..op import Workload, implementation
from ..plain import dtype_of
from .compose import Encoding
from .workload import EncoderPass


class _Jax:
    """XLA's arithmetic, see `compose.Arithmetic`."""

    def __init__(self, activation_format: str) -> None:
        self._dtype = dtype_of(activation_format)

    def rows(self, table: Any, format: str, indices: Int[Array, "context"]) -> Float[Array, "context d"]:
        return jax.vmap(lambda index: decoded_row(format, table, index))(indices).astype(self._dtype)

    def product(self, weight: Any, format: str, x: Float[Array, "context k"]) -> Float[Array, "context n"]:
        """In the formats' own precision where both are the same, in float32 otherwise."""
        matrix = weight if getattr(weight, "dtype", None) == x.dtype else decoded(format, weight)
        return _product("tk,nk->tn", x.astype(matrix.dtype), matrix).astype(self._dtype)

    def attend(
        self,
        query: Float[Array, "context heads head_dim"],
        keys: Float[Array, "context kv_heads head_dim"],
        values: Float[Array, "context kv_heads head_dim"],
        scale: float,
    ) -> Float[Array, "context width"]:
        """As one writes it; the softmax is in float32."""
        tokens, heads, width = query.shape
        grouped = query.reshape(tokens, keys.shape[1], -1, width)
        weights = jax.nn.softmax(scale * _product("qhgd,khd->hgqk", grouped, keys), axis=-1)
        out = _product("hgqk,khd->qhgd", weights.astype(values.dtype), values)
        return out.reshape(tokens, heads * width).astype(self._dtype)

    def call(self, call: Workload, operands: Mapping[str, Any]) -> tuple[Any, ...]:
        return compute(call, **operands)


def _refuses(workload: EncoderPass) -> str | None:
    return refusal(workload.calls, jax.default_backend())


@implementation(refuses=_refuses)
def unrolled(workload: EncoderPass, *, tokens: Int[Array, "context"], **arrays: Any) -> Float[Array, "context d_model"]:
    """Layer after layer, with XLA's own products of matrices."""
    encoding = Encoding(workload.composition, workload.calls, _Jax(workload.activation_format), arrays)
    return encoding.run(tokens, jnp.asarray(workload.positions))


def _product(axes: str, first: Array, second: Array) -> Array:
    return jnp.einsum(axes, first, second, precision=lax.Precision.HIGHEST, preferred_element_type=jnp.float32)
