"""An encoder's forward pass in float64, weight by weight."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ..formats import format_named
from ..op import Workload


class Float64:
    """NumPy's arithmetic, see `compose.Arithmetic`."""

    def rows(self, table: Any, format: str, indices: Int[np.ndarray, "context"]) -> Float[np.ndarray, "context d"]:
        """One row at a time: a table in float64 may not fit in memory."""
        one = format_named(format)
        return np.concatenate([_wide(one.rows(table, slice(index, index + 1)), format) for index in indices.tolist()])

    def product(self, weight: Any, format: str, x: Float[np.ndarray, "context k"]) -> Float[np.ndarray, "context n"]:
        """Of a matrix that is decoded whole."""
        return x @ _wide(weight, format).T

    def attend(
        self,
        query: Float[np.ndarray, "context heads head_dim"],
        keys: Float[np.ndarray, "context kv_heads head_dim"],
        values: Float[np.ndarray, "context kv_heads head_dim"],
        scale: float,
    ) -> Float[np.ndarray, "context width"]:
        """Head by head, since the scores of all of them may not fit in memory."""
        group = query.shape[1] // keys.shape[1]
        heads = []
        for head in range(query.shape[1]):
            scores = query[:, head] @ keys[:, head // group].T * scale
            weights = np.exp(scores - scores.max(-1, keepdims=True))
            heads.append(weights / weights.sum(-1, keepdims=True) @ values[:, head // group])
        return np.concatenate(heads, axis=-1)

    def call(self, call: Workload, operands: Mapping[str, Any]) -> tuple[Any, ...]:
        """By the reference of the op."""
        tensors = call.operands()
        return call.reference(**{name: _wide(value, tensors[name].format) for name, value in operands.items()})


def _wide(value: Any, format: str) -> np.ndarray:
    return value if getattr(value, "dtype", None) == np.float64 else format_named(format).unpack(value)
