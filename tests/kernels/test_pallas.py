"""Kernels for a GPU without one: their results where JAX interprets them, and that they lower to CUDA."""

import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax.sharding import AbstractDevice, AbstractMesh, use_abstract_mesh
from roofcast.kernels import check, triton
from roofcast.kernels.attention import Attention
from roofcast.kernels.attention import pallas as attention
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.gemv import pallas as gemv
from roofcast.kernels.op import Implementation, Workload, implementations, op_named, op_names, unstorable

FORMATS = ("f32", "bf16", "int8", "fp8")
HALF = {"activation_format": "bf16"}


def _attention(heads: int, kv_heads: int, head_dim: int, context: int, kv_format: str, **more: Any) -> Attention:
    widths = {"head_dim": head_dim, "value_dim": head_dim, "scale_dim": head_dim}
    return Attention(heads=heads, kv_heads=kv_heads, context=context, kv_format=kv_format, **(widths | more))


LATENT = {"value_dim": 512, "shared_values": True, "scale_dim": 192}
# Heads, groups and odd widths of real models; row counts, vocabularies and contexts are cut down.
MODEL_SHAPES: list[Workload] = [
    *(Gemv(n=1152, k=896, weight_format=name) for name in FORMATS),  # Qwen2.5-0.5B, queries with keys and values
    Gemv(n=1009, k=2304, weight_format="int8", **HALF),  # Gemma-2-2B, a slice of the LM head
    Gemv(n=130, k=14848, weight_format="fp8"),  # Falcon-180B
    *(_attention(14, 2, 64, 129, name) for name in FORMATS),  # Qwen2.5-0.5B
    _attention(8, 4, 256, 65, "bf16", **HALF),  # Gemma-2-2B
    _attention(71, 1, 64, 40, "int8"),  # Falcon-7B
    _attention(4, 4, 80, 100, "fp8", **HALF),  # Phi-2
    _attention(16, 1, 576, 130, "bf16", **LATENT),  # DeepSeek-V2-Lite
]
# Larger than the interpreter has time for: whole matrices and caches are lowered all the same.
LARGE: list[Workload] = [
    *(Gemv(n=n, k=k, weight_format=name) for n, k in ((14336, 4096), (4096, 14336), (128256, 4096)) for name in FORMATS),
    *(_attention(32, 8, 128, 8192, name) for name in FORMATS),
    *(_attention(128, 1, 576, 8192, name, **LATENT) for name in FORMATS),
]
TYPICAL: list[Workload] = [
    *(Gemv(n=17, k=129, weight_format=name) for name in FORMATS),
    *(_attention(6, 2, 5, 40, name) for name in FORMATS),
]


def _for_gpu(workloads: list[Workload]) -> Iterator[Any]:
    """Each workload with each implementation that takes it and that the suite of all ops does not see on a CPU."""
    for workload in dict.fromkeys(workloads):
        for one in implementations(workload.op):
            if "gpu" in one.backends and "cpu" not in one.backends and not (unstorable(workload) or one.refuses(workload)):
                yield pytest.param(workload, one, id=f"{one.name}-{'-'.join(map(str, workload.axes().values()))}")


def _examples() -> list[Workload]:
    return [example for op in op_names() for example in op_named(op).examples()]


def _result(workload: Workload, one: Implementation, packed: dict[str, Any]) -> np.ndarray:
    return jax.device_get(_compiled(workload, one)(**jax.tree.map(jnp.array, packed)))


@functools.cache
def _compiled(workload: Workload, one: Implementation) -> Any:
    return jax.jit(functools.partial(one.function, workload))


def _assert_right(workload: Workload, one: Implementation) -> None:
    packed = check.draw(workload, 0)
    assert check.error(workload, _result(workload, one, packed), check.expected(workload, packed)) <= workload.tolerance()


@pytest.mark.parametrize(("workload", "one"), list(_for_gpu([*_examples(), *MODEL_SHAPES])))
def test_results_are_the_references(workload: Workload, one: Implementation) -> None:
    _assert_right(workload, one)
