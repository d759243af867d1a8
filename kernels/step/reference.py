"""A decode step in float64, weight by weight: a float64 copy of a whole model would not fit in memory."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..formats import format_named
from ..op import Tensor, Workload
from .compose import Composition


def decode(composition: Composition, arrays: Mapping[str, Any], tolerance: float, **inputs: Any) -> dict[str, Any]:
    """The caches, the logits, and every token that is right where logits may be off by `tolerance` of their size.

    Args:
        composition: the step.
        arrays: weights and caches, packed or in float64.
        tolerance: relative to the logits' root mean square.
        inputs: `token`, `position`, and `uniform` for a draw.
    """
    found = composition.run(_run, arrays, **inputs)
    return found | {"token": _right_tokens(composition.call("sampling"), found["logits"], tolerance, inputs.get("uniform"))}


def _run(call: Workload, **operands: Any) -> tuple[Any, ...]:
    tensors = call.operands()
    parts = [
        call.reference(**{name: _wide(value, tensors[name].format) for name, value in piece.items()})
        for piece in call.pieces(operands)
    ]
    joined = (
        parts[0] if len(parts) == 1 else tuple(np.concatenate(results, call.piece_axis) for results in zip(*parts, strict=True))
    )
    return tuple(_handed_on(value, tensor) for value, tensor in zip(joined, call.results().values(), strict=True))


def _handed_on(value: Any, tensor: Tensor) -> Any:
    if tensor.role == "index":
        # Of all indices that would be right, a step can follow one.
        return value[..., 0]
    # What is cached is rounded on its way into the cache: attention reads what is stored.
    return _rounded(value, tensor.format) if tensor.role == "kv" else value


def _wide(value: Any, format: str) -> Any:
    return value if getattr(value, "dtype", None) == np.float64 else format_named(format).unpack(value)


def _rounded(value: np.ndarray, format: str) -> np.ndarray:
    return format_named(format).unpack(format_named(format).pack(value.astype(np.float32)))


def _right_tokens(call: Workload, logits: np.ndarray, tolerance: float, uniform: Any) -> np.ndarray:
    if uniform is None:
        slack = 2 * tolerance * np.sqrt(np.mean(logits**2))
        return np.flatnonzero(logits >= logits.max() - slack)
    draws = np.clip([uniform - tolerance, uniform, uniform + tolerance], 0, np.nextafter(1, 0))
    tokens = np.concatenate([call.reference(logits=logits, uniform=draw)[0] for draw in draws])
    order = np.argsort(-logits, kind="stable")
    ranks = np.flatnonzero(np.isin(order, tokens))
    return order[ranks[0] : ranks[-1] + 1]
