"""Packed arrays as PyTorch tensors on the CPU."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

_DTYPES = {"f32": "float32", "bf16": "bfloat16", "f16": "float16"}


def missing() -> str | None:
    """Why PyTorch cannot be used here, or None."""
    if importlib.util.find_spec("torch") is None:
        return "PyTorch is not installed: pip install 'roofcast[peers]'"
    return None


def refusal(**formats: str) -> str | None:
    """Why an operand cannot be a plain tensor, or None. Formats by the operands' names."""
    other = ((name, one) for name, one in formats.items() if one not in _DTYPES)
    return next((f"{name} must be one of {', '.join(_DTYPES)}; got {one}" for name, one in other), None)


@cache
def torch() -> Any:
    """PyTorch, with as many threads as there are processors for this process."""
    library = importlib.import_module("torch")
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    library.set_num_threads(usable or 1)
    return library


def tensor(packed: np.ndarray) -> Any:
    """A tensor over a copy of a plain array. NumPy's bfloat16 goes by its bits, for PyTorch does not know it."""
    library = torch()
    if packed.dtype.name == "bfloat16":
        return library.from_numpy(packed.view(np.int16).copy()).view(library.bfloat16)
    return library.from_numpy(packed.copy())


def without_gradients(call: Callable[[], Any]) -> Callable[[], np.ndarray]:
    """The call under inference mode, its result as float32 in NumPy."""
    library = torch()

    def run() -> np.ndarray:
        with library.inference_mode():
            return call().float().numpy()

    return run
