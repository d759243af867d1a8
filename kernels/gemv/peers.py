"""GEMV by other libraries, for comparison."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float

from ..libraries import ggml, pytorch
from ..op import implementation
from .workload import Gemv

_ALONE = "it computes the product alone, with nothing fused"


def _refuses_other_than_f32(workload: Gemv) -> str | None:
    if not workload.is_bare:
        return _ALONE
    return None if workload.weight_format == "f32" else f"weight_format must be f32; got {workload.weight_format}"


@implementation(backends=("cpu",), refuses=_refuses_other_than_f32)
def numpy(workload: Gemv, *, weight: Float[np.ndarray, "n k"], x: Float[np.ndarray, "k"]) -> Callable[[], Any]:
    """NumPy's own BLAS."""
    wide = np.asarray(x, np.float32)
    return lambda: weight @ wide


def _torch_refuses(workload: Gemv) -> str | None:
    return pytorch.refusal(weight=workload.weight_format) if workload.is_bare else _ALONE


@implementation(backends=("cpu",), refuses=_torch_refuses, missing=pytorch.missing)
def torch(workload: Gemv, *, weight: np.ndarray, x: Float[np.ndarray, "k"]) -> Callable[[], Any]:
    """`torch.nn.functional.linear` with the vector in the weights' dtype, as a model in PyTorch computes it."""
    matrix = pytorch.tensor(weight)
    vector = pytorch.tensor(x).to(matrix.dtype)
    linear = pytorch.torch().nn.functional.linear
    return pytorch.without_gradients(lambda: linear(vector, matrix))


def _llama_cpp_refuses(workload: Gemv) -> str | None:
    return ggml.refusal(workload.weight_format, workload.k) if workload.is_bare else _ALONE


@implementation(backends=("cpu",), refuses=_llama_cpp_refuses, missing=ggml.missing)
def llama_cpp(workload: Gemv, *, weight: Any, x: Float[np.ndarray, "k"]) -> Callable[[], Any]:
    """`ggml_mul_mat` with weights laid out as llama.cpp lays them out for this machine (see `ggml.mul_mat`).

    It rounds the vector to 8 bits against quantised weights and to bfloat16 against bfloat16.
    """
    return ggml.mul_mat(weight, np.asarray(x, np.float32), workload.weight_format)
