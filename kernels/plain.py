"""Workloads whose numbers are each one element of one array, so that JAX computes on them as they are stored."""

from __future__ import annotations

from typing import Any

import numpy as np

from .formats import format_named
from .formats.base import Plain
from .op import Workload


def refusal(workload: Workload, *, decodes: str = "") -> str | None:
    """Why a workload cannot be computed on as it is stored, or None: an operand or result is made of several arrays.

    Args:
        workload: the call.
        decodes: the operand, if any, that may be packed in any way.
    """
    for name, tensor in (workload.operands() | workload.results()).items():
        if name != decodes and not isinstance(format_named(tensor.format), Plain):
            return f"{name} is {tensor.format}, which is not one array of one dtype"
    return None


def dtype_of(name: str) -> np.dtype[Any]:
    """The dtype of a plain format.

    Raises:
        KeyError: if there is no such format.
        TypeError: if it is not plain.

    """
    one = format_named(name)
    if not isinstance(one, Plain):
        raise TypeError(f"format must be one array of one dtype; got {name!r}")
    return np.dtype(one.dtype)
