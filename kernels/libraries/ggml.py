"""Matrix-vector products in ggml, llama.cpp's tensor library, through the shared libraries that `llama-cpp-python` ships."""

from __future__ import annotations

import ctypes
import importlib.util
import os
import sys
import weakref
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float32

_BLOCK = 32
"""Weights of a block of Q8_0 and Q4_0 (ggml-common.h), each block with a float16 scale before its codes."""
_TYPES = {"f32": 0, "f16": 1, "bf16": 30, "int8": 8, "int4": 2}
"""Our formats -> `enum ggml_type` (ggml.h): F32, F16, BF16, Q8_0, Q4_0."""
_GRAPH_BYTES = 2**20
"""Room for the descriptions of a few tensors and a graph; their data live elsewhere."""


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


def missing() -> str | None:
    """Why ggml cannot be used here, or None."""
    if importlib.util.find_spec("llama_cpp") is None:
        return "llama.cpp is not installed: pip install 'roofcast[peers]'"
    try:
        _library()
    except (OSError, AttributeError) as error:
        return f"ggml cannot be loaded: {error}"
    return None


def refusal(weight_format: str, k: int) -> str | None:
    """Why ggml has no product with such weights, or None."""
    if weight_format not in _TYPES:
        return f"weight_format must be one of {', '.join(_TYPES)}; got {weight_format}"
    if weight_format in ("int8", "int4") and k % _BLOCK:
        return f"k must be a multiple of {_BLOCK} for {weight_format}; got {k}"
    return None


def mul_mat(weight: Any, x: Float32[np.ndarray, "k"], weight_format: str) -> Callable[[], Float32[np.ndarray, "n"]]:
    """Prepares W x and returns what computes it.

    Args:
        weight: packed in one of the formats that `refusal` lets pass; ggml gets the same codes and, in float16, the
            same scales.
        x: the vector.
        weight_format: name of the weights' format.
    """
    ggml = _library()
    data = as_blocks(weight, weight_format)
    rows, columns = data.shape[0], x.size
    context = ggml.ggml_init(_InitParams(_GRAPH_BYTES, None, True))
    matrix = ggml.ggml_new_tensor_2d(context, _TYPES[weight_format], columns, rows)
    vector = ggml.ggml_new_tensor_1d(context, _TYPES["f32"], columns)
    product = ggml.ggml_mul_mat(context, matrix, vector)
    graph = ggml.ggml_new_graph(context)
    ggml.ggml_build_forward_expand(graph, product)
    backend = ggml.ggml_backend_cpu_init()
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    ggml.ggml_backend_cpu_set_n_threads(backend, usable)
    buffer = ggml.ggml_backend_alloc_ctx_tensors(context, backend)
    ggml.ggml_backend_tensor_set(matrix, data.ctypes.data, 0, data.nbytes)
    ggml.ggml_backend_tensor_set(vector, np.ascontiguousarray(x).ctypes.data, 0, x.nbytes)
    y = np.empty(rows, np.float32)

    def run() -> Float32[np.ndarray, "n"]:
        status = ggml.ggml_backend_graph_compute(backend, graph)
        if status:
            raise RuntimeError(f"ggml_backend_graph_compute returned {status}")
        ggml.ggml_backend_tensor_get(product, y.ctypes.data, 0, y.nbytes)
        return y

    weakref.finalize(run, _free, context, backend, buffer)
    return run


def _free(context: Any, backend: Any, buffer: Any) -> None:
    ggml = _library()
    ggml.ggml_backend_buffer_free(buffer)
    ggml.ggml_backend_free(backend)
    ggml.ggml_free(context)


def as_blocks(weight: Any, weight_format: str) -> np.ndarray:
    """The rows of a matrix as ggml's bytes."""
    if weight_format in ("f32", "f16", "bf16"):
        return np.ascontiguousarray(weight)
    codes = np.asarray(weight["values"])
    blocks = codes.reshape(codes.shape[0], -1, _BLOCK if weight_format == "int8" else _BLOCK // 2).view(np.uint8)
    scales = np.asarray(weight["scales"]).astype(np.float16)
    scales = np.broadcast_to(scales, blocks.shape[:2])[..., None]
    joined = np.concatenate([np.ascontiguousarray(scales).view(np.uint8), blocks], axis=-1)
    return joined.reshape(codes.shape[0], -1)


@cache
def _library() -> Any:
    """The functions used here, with their types. Loaded into one name space, for ggml's own libraries need each other."""
    spec = importlib.util.find_spec("llama_cpp")
    folders = [Path(place) / "lib" for place in (spec.submodule_search_locations or ())] if spec else []
    suffix = "dylib" if sys.platform == "darwin" else "so"
    found = [folder / f"lib{name}.{suffix}" for name in ("ggml-base", "ggml-cpu", "ggml") for folder in folders]
    loaded = [ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL) for path in found if path.exists()]
    if not loaded:
        raise OSError(f"no libggml in {', '.join(map(str, folders))}")
    return SimpleNamespace(**{name: _function(loaded, name) for name in _SIGNATURES})


_POINTER, _WORD, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "ggml_init": (_POINTER, _InitParams),
    "ggml_free": (None, _POINTER),
    "ggml_new_tensor_1d": (_POINTER, _POINTER, _INT, _WORD),
    "ggml_new_tensor_2d": (_POINTER, _POINTER, _INT, _WORD, _WORD),
    "ggml_mul_mat": (_POINTER, _POINTER, _POINTER, _POINTER),
    "ggml_new_graph": (_POINTER, _POINTER),
    "ggml_build_forward_expand": (None, _POINTER, _POINTER),
    "ggml_backend_cpu_init": (_POINTER,),
    "ggml_backend_cpu_set_n_threads": (None, _POINTER, _INT),
    "ggml_backend_alloc_ctx_tensors": (_POINTER, _POINTER, _POINTER),
    "ggml_backend_tensor_set": (None, _POINTER, _POINTER, ctypes.c_size_t, ctypes.c_size_t),
    "ggml_backend_tensor_get": (None, _POINTER, _POINTER, ctypes.c_size_t, ctypes.c_size_t),
    "ggml_backend_graph_compute": (_INT, _POINTER, _POINTER),
    "ggml_backend_buffer_free": (None, _POINTER),
    "ggml_backend_free": (None, _POINTER),
}
"""Function -> its result and its arguments, from ggml.h, ggml-backend.h and ggml-cpu.h."""


def _function(libraries: Sequence[ctypes.CDLL], name: str) -> Any:
    holder = next((one for one in libraries if hasattr(one, name)), None)
    if holder is None:
        raise AttributeError(f"{name} is in none of the libraries")
    function = getattr(holder, name)
    function.restype, *_ = _SIGNATURES[name]
    function.argtypes = _SIGNATURES[name][1:]
    return function
