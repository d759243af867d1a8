"""Decode attention by other libraries, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from ..libraries import pytorch
from ..op import implementation
from .workload import Attention


def _refuses(workload: Attention) -> str | None:
    if workload.shared_values:
        return "values must be an array of their own; got latent attention"
    return pytorch.refusal(kv=workload.kv_format)


@implementation(backends=("cpu",), refuses=_refuses, missing=pytorch.missing)
def torch(
    workload: Attention,
    *,
    query: Float[np.ndarray, "heads head_dim"],
    keys: Float[np.ndarray, "kv_heads context head_dim"],
    values: Float[np.ndarray, "kv_heads context value_dim"],
) -> Callable[[], Any]:
    """`scaled_dot_product_attention` with the query in the cache's dtype."""
    cached, mixed = pytorch.tensor(keys)[None], pytorch.tensor(values)[None]
    asked = pytorch.tensor(query).to(cached.dtype)[None, :, None]
    attend = pytorch.torch().nn.functional.scaled_dot_product_attention
    grouped = workload.heads != workload.kv_heads
    return pytorch.without_gradients(lambda: attend(asked, cached, mixed, scale=workload.scale, enable_gqa=grouped)[0, :, 0])
