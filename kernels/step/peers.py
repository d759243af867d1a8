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
    """One `llama_decode` on the same weights, the same cache and the same token: its logits are those of our reference.
    """
    with tempfile.TemporaryDirectory(prefix="roofcast-") as folder:
        file = Path(folder) / "model.gguf"
        gguf.write(workload, arrays, file)
        session = llama.Session(file, context=workload.context, cache_type=gguf.CACHE_TYPES[workload.kv_format])
    before = workload.context - 1
    if before:
        session.fill(*gguf.cached(workload, arrays, int(position)))
    logits = session.decoder(int(token), before, workload.model.vocab)
    unknown = (None,) * len(workload.composition.caches())
    return lambda: (*unknown, logits(), None)
