"""The whole decode step by other libraries, for comparison."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..libraries import llama, pytorch
from ..op import implementation
from . import eager, gguf
from .workload import DecodeStep


@implementation(backends=("cpu",), refuses=gguf.refusal, missing=llama.missing)
def llama_cpp(
    workload: DecodeStep, *, token: Any, position: Any, uniform: Any = None, **arrays: Any
) -> Callable[[], tuple[Any, ...]]:
    """`llama_decode` of the same token, with the same weights and after the same cached tokens: the logits are our reference's.

    The model goes through a temporary GGUF file of its own shape. Matrices keep their numbers: F32, F16 and BF16 are copied,
    int4 are the same codes and scales as Q4_0, and int8 are the same codes as Q8_0, whose scales are float16. The embedding
    and the output have the same format, and where they are tied the file holds one, though llama.cpp may lay it out twice.
    Norms and biases become F32. The cache is F32 for f32, Q8_0 for int8, and else F16, llama.cpp's default and as wide as
    bfloat16. Before the first call it is filled with our cache (see `gguf.cached`), so no prompt is computed at any context.

    What differs: llama.cpp rounds what a matrix is multiplied by to 8 bits against Q8_0 and Q4_0 and to 16 bits against
    F16 and BF16, layer after layer; attention runs in flash attention's blocks over a number of cells that is rounded up to a
    multiple of 256; and no token is drawn from the logits, as `llama-bench` draws none, while our step draws one. The cache
    stays llama.cpp's own: it is not read back, and logits are what is checked. See `llama.Session` for the settings.
    """
    with tempfile.TemporaryDirectory(prefix="roofcast-") as folder:
        file = Path(folder) / "model.gguf"
        gguf.write(workload, arrays, file)
        session = llama.Session(file, context=workload.context, cache_type=gguf.CACHE_TYPES[workload.kv_format])
    before = workload.context - 1
    if before:
        session.fill(*gguf.cached(workload, arrays, int(position)))
    logits = session.decoder(int(token), before, workload.model.vocab)
    return _logits_only(workload, logits)


@implementation(backends=("cpu",), refuses=eager.refusal, missing=pytorch.missing)
def torch(
    workload: DecodeStep, *, token: Any, position: Any, uniform: Any = None, **arrays: Any
) -> Callable[[], tuple[Any, ...]]:
    """Eager PyTorch under inference mode: `linear`, `rms_norm` and `scaled_dot_product_attention`, nothing compiled.

    The caches are written in place, and like `llama_cpp` it ends with the logits: its caches and token are not checked.
    """
    step = eager.logits(workload, arrays, int(token), int(position))
    return _logits_only(workload, pytorch.without_gradients(step))


def _logits_only(workload: DecodeStep, logits: Callable[[], Any]) -> Callable[[], tuple[Any, ...]]:
    """Calls whose caches and next token stay with the library."""
    caches = (None,) * len(workload.composition.caches())
    return lambda: (*caches, logits(), None)
