"""y[j, n] = W[chosen[j], n, k] x[k]: the matrices of a mixture's chosen experts, and no others, are read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..formats import format_named
from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import combined, products

_PIECE_ELEMENTS = 2**20
"""Weights that the reference decodes at a time: 8 MB in float64, so that they stay in cache."""


@dataclass(frozen=True, kw_only=True)
class Experts(Workload):
    """`top_k` of `experts` matrices of `n` rows, each times the same vector of `k`, or with `own_inputs` times its own.

    With `combine` the products are added up, each times its factor, into one vector of `n`.
    """

    op: ClassVar[str] = "experts"
    piece_axis: ClassVar[int] = -1
    experts: int
    top_k: int
    n: int
    k: int
    own_inputs: bool = False
    combine: bool = False
    weight_format: str
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"experts {self.top_k} of {self.experts}x{self.n}x{self.k} {self.weight_format}"

    def operands(self) -> dict[str, Tensor]:
        width = (self.top_k, self.k) if self.own_inputs else (self.k,)
        factors = {"factors": Tensor((self.top_k,), self.activation_format, "activation")}
        return {
            "weight": Tensor((self.experts, self.n, self.k), self.weight_format, "weight"),
            "chosen": Tensor((self.top_k,), "i32", "index", below=self.experts),
            "x": Tensor(width, self.activation_format, "activation"),
        } | (factors if self.combine else {})

    def results(self) -> dict[str, Tensor]:
        shape = (self.n,) if self.combine else (self.top_k, self.n)
        return {"y": Tensor(shape, self.activation_format, "activation")}

    def flops(self) -> float:
        return 2 * self.top_k * self.n * (self.k + self.combine)

    def touched(self) -> dict[str, float]:
        return {"weight": self.top_k * self._bytes_each}

    def tolerance(self) -> float:
        # Summed one by one, k products carry a rounding that grows as the square root of k.
        return max(super().tolerance(), math.sqrt(self.k) * 2.0**-24)

    def share(self, chips: int) -> float:
        return 1 / chips

    def reference(self, *, weight: Any, chosen: Any, x: Any, factors: Any = None) -> tuple[Any, ...]:
        y = products(weight, chosen.astype(int), x)
        return (combined(y, factors) if self.combine else y,)

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        band = format_named(self.weight_format).band
        size = max(1, _PIECE_ELEMENTS // (self.top_k * self.k * band)) * band
        for start in range(0, self.n, size):
            weight = _some_rows(packed["weight"], packed["chosen"], start, start + size, band)
            yield {**packed, "weight": weight, "chosen": np.arange(self.top_k)}

    def stand_in(self, enough_bytes: float) -> Experts:
        # A whole multiple of what one call reads, so that calls which move on evenly meet each expert as often.
        calls = 1 + math.ceil(enough_bytes / (self.top_k * self._bytes_each))
        return replace(self, experts=self.top_k * min(calls, self.experts // self.top_k))

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model, formats = step.model, step.formats
        if model.mixture is None:
            return
        mixture, layers = model.mixture, model.mixture_layers
        common: dict[str, Any] = {"experts": mixture.experts, "top_k": mixture.top_k}
        common |= {"weight_format": formats.weight, "activation_format": formats.activation}
        width = mixture.d_ff_expert
        calls = {
            "ffn_gate_up" if model.gated else "ffn_up": cls(n=(1 + model.gated) * width, k=model.d_model, **common),
            "ffn_down": cls(n=model.d_model, k=width, own_inputs=True, combine=True, **common),
        }
        for role, workload in calls.items():
            resident = layers * mixture.experts * workload.n * workload.k
            yield Need(f"expert_{role}", workload, layers, resident)
            if model.family == "encoder-decoder":
                yield Need(f"encoder_expert_{role}", workload, 0, resident)

    @classmethod
    def examples(cls) -> Iterable[Experts]:
        for weight in ("int8", "int4", "fp8_block", "mxfp4"):
            yield cls(experts=6, top_k=2, n=140, k=256, weight_format=weight)
            yield cls(experts=6, top_k=2, n=70, k=128, own_inputs=True, combine=True, weight_format=weight)
        for weight in ("f32", "bf16"):
            for experts, top_k, n, k in ((1, 1, 1, 1), (5, 3, 3, 5), (16, 2, 17, 129), (8, 8, 9, 64), (4, 2, 300, 2048)):
                yield cls(experts=experts, top_k=top_k, n=n, k=k, weight_format=weight)
                yield cls(experts=experts, top_k=top_k, n=n, k=k, own_inputs=True, combine=True, weight_format=weight)
        yield cls(experts=5, top_k=2, n=7, k=40, own_inputs=True, weight_format="bf16")
        yield cls(experts=5, top_k=2, n=7, k=40, combine=True, weight_format="bf16")

    @property
    def _bytes_each(self) -> float:
        return format_named(self.weight_format).nbytes((self.n, self.k))


def _some_rows(packed: Any, chosen: Any, start: int, stop: int, band: int) -> Any:
    """Rows [start, stop) of the chosen experts; `start` begins a band of rows that share scales."""
    if not isinstance(packed, dict):
        return packed[chosen, start:stop]
    scales = packed["scales"][chosen, start // band : math.ceil(stop / band)]
    return {"values": packed["values"][chosen, start:stop], "scales": scales}
