"""Decode steps in llama.cpp, through the C functions that `llama-cpp-python` binds."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import weakref
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from . import ggml


def missing() -> str | None:
    """Why no model can be given to llama.cpp here, or None."""
    if (reason := ggml.missing()) is not None:
        return reason
    if importlib.util.find_spec("gguf") is None:
        return "gguf is not installed: pip install 'roofcast[peers]'"
    try:
        _library()
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        return f"llama.cpp cannot be loaded: {error}"
    return None


class Session:
    """A model and its cache in llama.cpp, freed with the object.

    As in `llama-bench`, one pool of threads serves all calls, one thread per processor of this process; the loader decides
    by itself whether it maps the file, and which of the CPU's buffer types a matrix is laid out for (see `ggml.mul_mat`);
    and flash attention is on, as llama.cpp chooses on a CPU.
    """

    def __init__(self, file: Path, *, context: int, cache_type: int) -> None:
        """Loads a model.

        Args:
            file: in GGUF; it may be removed afterwards.
            context: tokens that the cache has room for.
            cache_type: `enum ggml_type` of the cache.

        Raises:
            RuntimeError: if llama.cpp refuses the model or the settings.
        """
        llama = _library()
        model = llama.llama_model_load_from_file(str(file).encode(), llama.llama_model_default_params())
        if not model:
            raise RuntimeError(_complaint("did not load the model"))
        settings = llama.llama_context_default_params()
        settings.n_ctx, settings.n_batch, settings.n_ubatch = context, 1, 1
        settings.n_threads = settings.n_threads_batch = ggml.processors()
        settings.flash_attn_type = llama.LLAMA_FLASH_ATTN_TYPE_ENABLED
        settings.type_k = settings.type_v = cache_type
        self._context = llama.llama_init_from_model(model, settings)
        if not self._context:
            llama.llama_model_free(model)
            raise RuntimeError(_complaint("did not make a context for the model"))
        weakref.finalize(self, _free, self._context, model)
        pool = ggml.threadpool()
        llama._lib.llama_attach_threadpool(self._context, pool, pool)

    def restore(self, saved: UInt8[np.ndarray, "bytes"]) -> None:
        """Fills the cache with what `llama_state_seq_get_data` would give for it.

        Raises:
            RuntimeError: if llama.cpp does not read just that.
        """
        start = saved.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        read = _library().llama_state_seq_set_data(self._context, start, saved.size, 0)
        if read != saved.size:
            raise RuntimeError(_complaint(f"read {read} of {saved.size} bytes of a saved cache"))

    def save(self) -> UInt8[np.ndarray, "bytes"]:
        """The cache as `restore` takes it."""
        llama = _library()
        saved = np.empty(llama.llama_state_seq_get_size(self._context, 0), np.uint8)
        start = saved.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
        return saved[: llama.llama_state_seq_get_data(self._context, start, saved.size, 0)]

    def decoder(self, token: int, position: int, vocab: int) -> Callable[[], Float32[np.ndarray, "vocab"]]:
        """What decodes a token after the `position` tokens that are cached, and gives its logits.

        A call is `llama_decode`, a copy of the logits, and `llama_memory_seq_rm` of the cell that was written, so that the
        next call attends to as many tokens; that takes microseconds.
        """
        llama = _library()
        tokens = (llama.llama_token * 1)(token)
        batch = llama.llama_batch_get_one(tokens, 1)
        memory = llama.llama_get_memory(self._context)

        def run() -> Float32[np.ndarray, "vocab"]:
            # The batch points to the tokens: they live as long as this function names them.
            status = llama.llama_decode(self._context, batch) if tokens else None
            if status:
                raise RuntimeError(_complaint(f"gave {status} for llama_decode"))
            logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, -1), (vocab,)).copy()
            llama.llama_memory_seq_rm(memory, 0, position, -1)
            return logits

        return run


def _free(context: Any, model: Any) -> None:
    _library().llama_free(context)
    _library().llama_model_free(model)


def _complaint(what: str) -> str:
    return f"llama.cpp {what}: {ggml.COMPLAINTS.pop() if ggml.COMPLAINTS else 'it does not say why'}"


@cache
def _library() -> Any:
    """The binding of llama.h, with its log turned to ours. One function that it lacks is added to the library itself."""
    llama = importlib.import_module("llama_cpp.llama_cpp")
    llama._lib.llama_attach_threadpool.argtypes = [ctypes.c_void_p] * 3
    llama._lib.llama_attach_threadpool.restype = None
    llama._lib.llama_log_set.argtypes = None
    llama._lib.llama_log_set(ggml.keep_complaint, None)
    llama.llama_backend_init()
    return llama
