"""What engines fuse with a GEMV, in JAX: the norm of its vector before it, the gate and the residual add after it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax.numpy as jnp
from jax import Array
from jaxtyping import Float

from ..activation import Activation
from ..activation import xla as activation
from ..norm import Norm
from ..norm import xla as norms
from ..plain import dtype_of
from .workload import Gemv


def fusing(product: Callable[..., Float[Array, "n"]]) -> Callable[..., Float[Array, "m"]]:
    """Makes an implementation of a bare product one of every GEMV."""

    @functools.wraps(product)
    def fused(
        workload: Gemv,
        *,
        weight: Any,
        x: Float[Array, "k"],
        norm_scale: Float[Array, "k"] | None = None,
        norm_bias: Float[Array, "k"] | None = None,
        residual: Float[Array, "n"] | None = None,
    ) -> Float[Array, "m"]:
        if workload.is_bare:
            return product(workload, weight=weight, x=x)
        bare = replace(workload, norm="", gate="", residual=False, activation_format="f32")
        x = x.astype(jnp.float32)
        if workload.norm and norm_scale is not None:
            norm = Norm(kind=workload.norm, d=workload.k, weight_format=workload.norm_format)
            learned = {"scale": norm_scale} | ({} if norm_bias is None else {"bias": norm_bias})
            x = norms.normalise.function(norm, x=x[None], **learned)[0]
        y = product(bare, weight=weight, x=x)
        if workload.gate:
            y = activation.pointwise.function(Activation(function=workload.gate, gated=True, d=workload.n // 2), x=y)
        if residual is not None:
            y = y + residual.astype(jnp.float32)
        return y.astype(dtype_of(workload.activation_format))

    return fused
