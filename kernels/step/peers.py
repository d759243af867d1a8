"""The whole decode step by other libraries, for comparison."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..libraries import llama
from ..op import implementation
from . import gguf
from .workload import DecodeStep


def _refuses(workload: DecodeStep) -> str | None:
    return gguf.refusal(workload)


@implementation(backends=("cpu",), refuses=_refuses, missing=llama.missing)
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
    kept = (None,) * len(workload.composition.caches())
    return lambda: (*kept, logits(), None)
