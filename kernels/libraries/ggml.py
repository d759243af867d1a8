"""Matrix-vector products in ggml, llama.cpp's tensor library, through the shared libraries that `llama-cpp-python` ships."""

from __future__ import annotations

import ctypes
import importlib.util
import itertools
import os
import sys
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from jaxtyping import Float32

_BLOCK = 32
"""Weights of a block of Q8_0 and Q4_0 (ggml-common.h), each block with a float16 scale before its codes."""
TYPES = {"f32": 0, "f16": 1, "bf16": 30, "int8": 8, "int4": 2}
"""Our formats -> `enum ggml_type` (ggml.h): F32, F16, BF16, Q8_0, Q4_0."""
_PARAMS_BYTES = 4096
"""More than `struct ggml_threadpool_params` takes: 512 flags of a processor mask and a few numbers (ggml.h)."""
_ERROR = 4
"""GGML_LOG_LEVEL_ERROR (ggml.h)."""
COMPLAINTS: deque[str] = deque(maxlen=4)
"""The last errors that ggml and llama.cpp wrote to their log. Nothing else of it is kept or shown."""
_GRAPH_BYTES = 2**20
"""Room for the descriptions of a few tensors and a graph; their data live elsewhere."""


class _InitParams(ctypes.Structure):
    _fields_ = (("mem_size", ctypes.c_size_t), ("mem_buffer", ctypes.c_void_p), ("no_alloc", ctypes.c_bool))


@ctypes.CFUNCTYPE(None, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
def keep_complaint(level: int, text: bytes, _: Any) -> None:
    """What ggml and llama.cpp log to."""
    if level == _ERROR:
        COMPLAINTS.append(text.decode(errors="replace").strip())


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
    if weight_format not in TYPES:
        return f"weight_format must be one of {', '.join(TYPES)}; got {weight_format}"
    if weight_format in ("int8", "int4") and k % _BLOCK:
        return f"k must be a multiple of {_BLOCK} for {weight_format}; got {k}"
    return None


def mul_mat(weight: Any, x: Float32[np.ndarray, "k"], weight_format: str) -> Callable[[], Float32[np.ndarray, "n"]]:
    """Prepares W x, as llama.cpp would, and returns what computes it.

    Weights lie in the first of the CPU's extra buffer types that takes them, as llama.cpp's loader places them: on x86 with
    AVX2, and on Arm, rows of Q4_0 are interleaved there by eight or four for kernels of their own ("repacked"). All calls
    share one pool of threads, one per processor of this process, as in `llama-bench`; where ggml is built with OpenMP, which
    the wheels for Linux are, OpenMP's own threads are reused from call to call in its place.

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
    vector = ggml.ggml_new_tensor_1d(context, TYPES["f32"], columns)
    placed = _placed(context, vector, TYPES[weight_format], rows, columns)
    graph = ggml.ggml_new_graph(context)
    ggml.ggml_build_forward_expand(graph, placed.product)
    backend = ggml.ggml_backend_cpu_init()
    ggml.ggml_backend_cpu_set_n_threads(backend, processors())
    ggml.ggml_backend_cpu_set_threadpool(backend, threadpool())
    buffer = ggml.ggml_backend_alloc_ctx_tensors(context, backend)
    ggml.ggml_backend_tensor_set(placed.matrix, data.ctypes.data, 0, data.nbytes)
    ggml.ggml_backend_tensor_set(vector, np.ascontiguousarray(x).ctypes.data, 0, x.nbytes)
    y = np.empty(rows, np.float32)

    def run() -> Float32[np.ndarray, "n"]:
        status = ggml.ggml_backend_graph_compute(backend, graph)
        if status:
            raise RuntimeError(f"ggml_backend_graph_compute returned {status}")
        ggml.ggml_backend_tensor_get(placed.product, y.ctypes.data, 0, y.nbytes)
        return y

    weakref.finalize(run, _free, backend, (buffer, placed.buffer), (context, placed.context))
    return run


def processors() -> int:
    """Processors that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def threadpool() -> Any:
    """Threads for all that ggml computes in this process, which wait for the next graph instead of being started for it."""
    ggml = _library()
    count = processors()
    # By pointer: the structure has grown from version to version, and only the library knows its size.
    settings = ctypes.create_string_buffer(_PARAMS_BYTES)
    ggml.ggml_threadpool_params_init(settings, count)
    pool = ggml.ggml_threadpool_new(settings)
    if not pool:
        raise RuntimeError(f"ggml_threadpool_new gave no pool of {count} threads")
    return pool


def buffer_types() -> list[tuple[Any, str]]:
    """The CPU's extra buffer types with their names, in the order of llama.cpp's loader, and its plain one."""
    ggml = _library()
    found = []
    address = ggml.ggml_backend_reg_get_proc_address(ggml.ggml_backend_cpu_reg(), b"ggml_backend_dev_get_extra_bufts")
    if address:
        extras = ctypes.CFUNCTYPE(ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p)(address)(_device())
        found = list(itertools.takewhile(bool, extras)) if extras else []
    return [(one, ggml.ggml_backend_buft_name(one).decode()) for one in (*found, ggml.ggml_backend_cpu_buffer_type())]


@dataclass(frozen=True)
class _Placed:
    """A matrix in a buffer of its own, and its product with a vector."""

    context: Any
    buffer: Any
    matrix: Any
    product: Any


def _placed(context: Any, vector: Any, kind: int, rows: int, columns: int) -> _Placed:
    """The matrix in the first buffer type whose device multiplies by it there."""
    ggml = _library()
    for buffer_type, _ in buffer_types():
        own = ggml.ggml_init(_InitParams(_GRAPH_BYTES, None, True))
        matrix = ggml.ggml_new_tensor_2d(own, kind, columns, rows)
        buffer = ggml.ggml_backend_alloc_ctx_tensors_from_buft(own, buffer_type)
        product = ggml.ggml_mul_mat(context, matrix, vector)
        if buffer and ggml.ggml_backend_dev_supports_op(_device(), product):
            return _Placed(own, buffer, matrix, product)
        if buffer:
            ggml.ggml_backend_buffer_free(buffer)
        ggml.ggml_free(own)
    raise RuntimeError(f"no buffer of ggml takes a {rows}x{columns} matrix of type {kind}")


def _device() -> Any:
    ggml = _library()
    return ggml.ggml_backend_reg_dev_get(ggml.ggml_backend_cpu_reg(), 0)


def _free(backend: Any, buffers: Sequence[Any], contexts: Sequence[Any]) -> None:
    ggml = _library()
    for buffer in buffers:
        ggml.ggml_backend_buffer_free(buffer)
    ggml.ggml_backend_free(backend)
    for context in contexts:
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
    library = SimpleNamespace(**{name: _function(loaded, name) for name in _SIGNATURES})
    library.ggml_log_set(keep_complaint, None)
    return library


_POINTER, _WORD, _INT = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "ggml_init": (_POINTER, _InitParams),
    "ggml_free": (None, _POINTER),
    "ggml_log_set": (None, _POINTER, _POINTER),
    "ggml_new_tensor_1d": (_POINTER, _POINTER, _INT, _WORD),
    "ggml_new_tensor_2d": (_POINTER, _POINTER, _INT, _WORD, _WORD),
    "ggml_mul_mat": (_POINTER, _POINTER, _POINTER, _POINTER),
    "ggml_new_graph": (_POINTER, _POINTER),
    "ggml_build_forward_expand": (None, _POINTER, _POINTER),
    "ggml_backend_cpu_init": (_POINTER,),
    "ggml_backend_cpu_set_n_threads": (None, _POINTER, _INT),
    "ggml_backend_cpu_set_threadpool": (None, _POINTER, _POINTER),
    "ggml_threadpool_params_init": (None, _POINTER, _INT),
    "ggml_threadpool_new": (_POINTER, _POINTER),
    "ggml_backend_cpu_reg": (_POINTER,),
    "ggml_backend_reg_dev_get": (_POINTER, _POINTER, ctypes.c_size_t),
    "ggml_backend_reg_get_proc_address": (_POINTER, _POINTER, ctypes.c_char_p),
    "ggml_backend_dev_supports_op": (ctypes.c_bool, _POINTER, _POINTER),
    "ggml_backend_cpu_buffer_type": (_POINTER,),
    "ggml_backend_buft_name": (ctypes.c_char_p, _POINTER),
    "ggml_backend_alloc_ctx_tensors": (_POINTER, _POINTER, _POINTER),
    "ggml_backend_alloc_ctx_tensors_from_buft": (_POINTER, _POINTER, _POINTER),
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
