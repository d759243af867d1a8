"""A decode step in PyTorch, call by call as its composition says, with PyTorch's own functions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ..libraries import pytorch
from ..norm.reference import EPSILON
from ..op import Workload
from ..rope.reference import BASE as ROPE_BASE
from .gguf import unlike_llama
from .workload import DecodeStep


def refusal(workload: DecodeStep) -> str | None:
    """Why a step is none that is written here, or None."""
    if workload.fused:
        return "fused must be false: its weights have other names"
    model = workload.model
    parts = {"biases": model.qkv_bias, "normed heads": model.qk_norm}
    if part := unlike_llama(model) or next((part for part, is_there in parts.items() if is_there), None):
        return f"model must be of Llama's kind; {model.name} has {part}"
    return pytorch.refusal(weight=workload.weight_format, kv=workload.kv_format)


def logits(workload: DecodeStep, arrays: Mapping[str, Any], token: int, position: int) -> Callable[[], Any]:
    """What computes a step's logits as a tensor. Each call writes the same row of the caches.

    Vectors between the calls are of the weights' dtype, as in a model that is loaded in it.

    Args:
        workload: a step without a `refusal`.
        arrays: packed weights and caches by the step's names.
        token: the last token.
        position: its place in the sequence.
    """
    torch = pytorch.torch()
    functions = torch.nn.functional
    tensors = {name: pytorch.tensor(value) for name, value in arrays.items()}
    plain = tensors["embedding.table"].dtype
    half = workload.model.head_dim // 2
    angles = torch.from_numpy(np.outer(np.arange(workload.context), ROPE_BASE ** (-np.arange(half) / half)))
    cosines, sines = angles.cos().to(plain), angles.sin().to(plain)

    def norm(call: Workload, x: Any, scale: Any, residual: Any = None) -> tuple[Any, ...]:
        stream = x if residual is None else x + residual
        y = functions.rms_norm(stream, stream.shape[-1:], scale, EPSILON)
        return (y,) if residual is None else (y, stream)

    def rope(call: Workload, x: Any, position: int) -> tuple[Any]:
        first, second = x[:, :half], x[:, half:]
        cosine, sine = cosines[position], sines[position]
        return (torch.cat([first * cosine - second * sine, second * cosine + first * sine], -1),)

    def cache(call: Workload, keys: Any, values: Any, new_keys: Any, new_values: Any, position: int) -> tuple[Any, Any]:
        keys[:, position], values[:, position] = new_keys, new_values
        return keys, values

    def attention(call: Any, query: Any, keys: Any, values: Any) -> tuple[Any]:
        asked, grouped = query.to(keys.dtype)[None, :, None], call.heads != call.kv_heads
        return (
            functions.scaled_dot_product_attention(asked, keys[None], values[None], scale=call.scale, enable_gqa=grouped)[
                0, :, 0
            ].to(plain),
        )

    def activation(call: Workload, x: Any) -> tuple[Any]:
        gate, up = x.chunk(2, -1)
        return (functions.silu(gate) * up,)

    computed: dict[str, Callable[..., tuple[Any, ...]]] = {
        "embedding": lambda call, table, index: (table[index],),
        "norm": norm,
        "gemv": lambda call, weight, x: (functions.linear(x, weight),),
        "rope": rope,
        "cache": cache,
        "attention": attention,
        "activation": activation,
        "sampling": lambda call, **_: (None,),
    }

    def run(call: Workload, **operands: Any) -> tuple[Any, ...]:
        return computed[call.op](call, **operands)

    # No token is drawn, by whatever number.
    return lambda: workload.composition.run(run, tensors, token, position)["logits"]
