"""Decode steps in llama.cpp, through the C functions that `llama-cpp-python` binds."""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from . import ggml

_NO_ROTATION = "LLAMA_ATTN_ROT_DISABLE"
Rows = Sequence[UInt8[np.ndarray, "tokens row_bytes"]]


def missing() -> str | None:
    """Why no model can be given to llama.cpp here, or None. Its Python package, slow to import, is not imported for that."""
    without_gguf = None if importlib.util.find_spec("gguf") else "gguf is not installed: pip install 'roofcast[peers]'"
    return ggml.missing() or without_gguf


class Session:
    """A model and its cache in llama.cpp, freed with the object.

    As in `llama-bench`, one pool of threads serves all calls, one thread per processor of this process; the loader decides
    by itself whether it maps the file, and which of the CPU's buffer types a matrix is laid out for (see `ggml.mul_mat`);
    and flash attention is on, as llama.cpp chooses on a CPU. Other than there, queries, keys and values are not multiplied by
    a Hadamard matrix where the cache is quantised: that spares llama.cpp the work, and rows can be filled in as they are.
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
        self._cache_type = cache_type
        with _unturned_caches():
            self._context = llama.llama_init_from_model(model, settings)
        if not self._context:
            llama.llama_model_free(model)
            raise RuntimeError(_complaint("did not make a context for the model"))
        weakref.finalize(self, _free, self._context, model)
        pool = ggml.threadpool()
        llama._lib.llama_attach_threadpool(self._context, pool, pool)

    def fill(self, keys: Rows, values: Rows) -> None:
        """Puts tokens in an empty cache, at positions from 0, as a sequence that had been saved before would be.

        What llama.cpp writes before the tokens of a saved sequence has changed between versions, so that is taken from a
        sequence of one token that it saves here.

        Args:
            keys, values: for each layer one row of bytes per token, of the cache's type.

        Raises:
            RuntimeError: if llama.cpp saves sequences in another way, or does not read just what it is given.
        """
        llama = _library()
        example, wanted = (
            self._saved_token(),
            _sequence([one[:1] for one in keys], [one[:1] for one in values], self._cache_type),
        )
        before = example.size - wanted.size
        told = _told_bytes(1)
        if before < 0 or (example[before : before + told] != wanted[:told]).any():
            raise RuntimeError("llama.cpp saves a sequence in a way that is not known here")
        saved = np.concatenate([example[:before], _sequence(keys, values, self._cache_type)])
        read = llama.llama_state_seq_set_data(self._context, _bytes(saved), saved.size, 0)
        if read != saved.size:
            raise RuntimeError(_complaint(f"read {read} of the {saved.size} bytes of a saved sequence"))

    def decoder(self, token: int, position: int, vocab: int) -> Callable[[], Float32[np.ndarray, "vocab"]]:
        """What decodes a token after the `position` tokens that are cached, and gives its logits.

        A call is `llama_decode`, a copy of the logits, and `llama_memory_seq_rm` of the cell that was written, which takes
        microseconds and lets the next call attend to as many tokens.

        Raises:
            RuntimeError: if llama.cpp does not decode.
        """
        llama = _library()
        tokens = (llama.llama_token * 1)(token)
        memory = llama.llama_get_memory(self._context)

        def run() -> Float32[np.ndarray, "vocab"]:
            if status := llama.llama_decode(self._context, llama.llama_batch_get_one(tokens, 1)):
                raise RuntimeError(_complaint(f"gave {status} for llama_decode"))
            logits = np.ctypeslib.as_array(llama.llama_get_logits_ith(self._context, -1), (vocab,)).copy()
            llama.llama_memory_seq_rm(memory, 0, position, -1)
            return logits

        return run

    def _saved_token(self) -> UInt8[np.ndarray, "bytes"]:
        llama = _library()
        tokens = (llama.llama_token * 1)(0)
        if status := llama.llama_decode(self._context, llama.llama_batch_get_one(tokens, 1)):
            raise RuntimeError(_complaint(f"gave {status} for llama_decode"))
        saved = np.empty(llama.llama_state_seq_get_size(self._context, 0), np.uint8)
        size = llama.llama_state_seq_get_data(self._context, _bytes(saved), saved.size, 0)
        llama.llama_memory_seq_rm(llama.llama_get_memory(self._context), 0, -1, -1)
        return saved[:size]


def _sequence(keys: Rows, values: Rows, cache_type: int) -> UInt8[np.ndarray, "bytes"]:
    """The tokens of a saved sequence (`llama_kv_cache::state_write`): cells first, then each layer's keys, then its values.

    For each cell its position, of how many sequences it is, and of which. Values are not transposed under flash attention.
    """
    count = len(keys[0])
    cells = np.stack([np.arange(count), np.ones(count), np.zeros(count)], axis=-1).astype(np.int32)
    parts = [np.array([1, count], np.uint32), cells, np.array([0, len(keys)], np.uint32)]
    for rows in (*keys, *values):
        parts += [np.array([cache_type], np.int32), np.array([rows.shape[1]], np.uint64), rows]
    return np.concatenate([np.ascontiguousarray(part).view(np.uint8).ravel() for part in parts])


def _told_bytes(count: int) -> int:
    """Bytes of `_sequence` before the first layer's."""
    return 4 * (2 + 3 * count + 2)


def _bytes(array: UInt8[np.ndarray, "bytes"]) -> Any:
    return array.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))


@contextmanager
def _unturned_caches() -> Iterator[None]:
    """While contexts are made, llama.cpp is told not to rotate what it quantises (github.com/ggml-org/llama.cpp, #21038)."""
    before = os.environ.get(_NO_ROTATION)
    os.environ[_NO_ROTATION] = "1"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_NO_ROTATION]
        else:
            os.environ[_NO_ROTATION] = before


def _free(context: Any, model: Any) -> None:
    _library().llama_free(context)
    _library().llama_model_free(model)


def _complaint(what: str) -> str:
    said = "; ".join(ggml.COMPLAINTS) or "it does not say why"
    ggml.COMPLAINTS.clear()
    return f"llama.cpp {what}: {said}"


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
