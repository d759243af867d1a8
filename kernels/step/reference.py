"""A decode step in float64, weight by weight: a float64 copy of a whole model would not fit in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..formats import format_named
from ..op import Tensor, Workload
from ..router import Router
from .compose import Composition


def decode(
    composition: Composition, arrays: Mapping[str, Any], tolerance: float, chosen: Sequence[Any] = (), **inputs: Any
) -> dict[str, Any]:
    """The caches, the experts, the logits, and every token that is right where logits may be off by `tolerance` of their size.

    Args:
        composition: the step.
        arrays: weights and caches, packed or in float64.
        tolerance: relative to the logits' root mean square, a router's and the LM head's.
        chosen: experts for each mixture in turn, which are taken where the tolerance lets them be right.
        inputs: `token`, `position`, and `uniform` for a draw.
    """
    offered = iter(chosen)

    def run(call: Workload, **operands: Any) -> tuple[Any, ...]:
        if isinstance(call, Router):
            return _routed(call, next(offered, None), tolerance, operands)
        return _run(call, operands)

    found = composition.run(run, arrays, **inputs)
    found |= {name: found[name][:, None] for name in composition.choices()}
    return found | {"token": _right_tokens(composition.call("sampling"), found["logits"], tolerance, inputs.get("uniform"))}


def _routed(call: Router, offered: Any, tolerance: float, operands: dict[str, Any]) -> tuple[Any, ...]:
    """The experts that are offered, if they may be right, and their weights; the reference's own otherwise."""
    if offered is not None:
        slack = 2 * tolerance * float(np.sqrt(np.mean(operands["logits"] ** 2)))
        followed = call.follow(np.asarray(offered), slack, **operands)
        if followed is not None:
            return followed
    return _run(call, operands)


def _run(call: Workload, operands: dict[str, Any]) -> tuple[Any, ...]:
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
