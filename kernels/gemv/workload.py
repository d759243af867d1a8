"""y[n] = W[n, k] x[k]: which matrices a token reads."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

import numpy as np

from ..activation.reference import activate
from ..formats import format_named, format_names
from ..model import Model, Step
from ..norm.reference import layernorm, rmsnorm
from ..op import Need, Tensor, Workload
from .reference import gemv

_PIECE_ELEMENTS = 2**17
"""Weights that the reference decodes at a time: 1 MB in float64, which stays in cache and which the allocator hands out
again, where larger arrays get new pages from the system each time, at twenty times the cost of the arithmetic."""


@dataclass(frozen=True, kw_only=True)
class Gemv(Workload):
    """A weight matrix of `n` rows times a vector of `k`; row-major, so that a row streams in one run.

    Engines fuse what stands around it. With a `norm` the vector is normed first, by weights in `norm_format`. With a
    `gate` the first half of the products goes through that function and times the other half (SwiGLU), so `n / 2`
    numbers come out. With `residual` a vector is added at the end.
    """

    op: ClassVar[str] = "gemv"
    n: int
    k: int
    weight_format: str
    activation_format: str = "f32"
    norm: Literal["", "rmsnorm", "layernorm"] = ""
    norm_format: str = "bf16"
    gate: Literal["", "silu", "gelu", "relu"] = ""
    residual: bool = False

    def __post_init__(self) -> None:
        if self.gate and self.n % 2:
            raise ValueError(f"n must be even where there is a gate; got {self.n}")

    @property
    def is_bare(self) -> bool:
        """Whether nothing is fused with the product."""
        return not (self.norm or self.gate or self.residual)

    def operands(self) -> dict[str, Tensor]:
        learned = Tensor((self.k,), self.norm_format, "weight")
        return (
            {
                "weight": Tensor((self.n, self.k), self.weight_format, "weight"),
                "x": Tensor((self.k,), self.activation_format, "activation"),
            }
            | ({"norm_scale": learned} if self.norm else {})
            | ({"norm_bias": learned} if self.norm == "layernorm" else {})
            | ({"residual": self._result} if self.residual else {})
        )

    def results(self) -> dict[str, Tensor]:
        return {"y": self._result}

    def flops(self) -> float:
        norm = {"": 0, "rmsnorm": 4, "layernorm": 7}[self.norm] * self.k
        gate = {"": 0, "silu": 5, "gelu": 6, "relu": 2}[self.gate] * self._width
        return 2 * self.n * self.k + norm + gate + self.residual * self._width

    def tolerance(self) -> float:
        # Summed one by one, k products carry a rounding that grows as the square root of k. A gate is the product of two.
        return max(super().tolerance(), math.sqrt(self.k) * 2.0**-24 * (2 if self.gate else 1))

    def share(self, chips: int) -> float:
        return 1 / chips

    def reference(
        self, *, weight: Any, x: Any, norm_scale: Any = None, norm_bias: Any = None, residual: Any = None
    ) -> tuple[Any, ...]:
        if self.norm:
            x = (rmsnorm(x[None], norm_scale) if self.norm == "rmsnorm" else layernorm(x[None], norm_scale, norm_bias))[0]
        y = gemv(weight, x)
        if self.gate:
            y = activate(self.gate, True, y)
        return (y + residual if self.residual else y,)

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        one = format_named(self.weight_format)
        halves = 2 if self.gate else 1
        size = max(1, _PIECE_ELEMENTS // self.k // one.band) * one.band
        if self.gate and self._width % one.band:
            # The gate's rows and the others begin at different places of a band, so no part has both.
            size = self.n
        for start in range(0, self._width, size):
            stop = min(start + size, self._width)
            which = np.concatenate([np.arange(start, stop) + half * self._width for half in range(halves)])
            part = {**packed, "weight": one.rows(packed["weight"], which)}
            yield part | ({"residual": packed["residual"][start:stop]} if self.residual else {})

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        formats = step.formats
        for role, n, k, count, resident_copies in _matrices(step.model):
            weight = formats.unquantised if role.endswith("router") else formats.weight
            workload = cls(n=n, k=k, weight_format=weight, activation_format=formats.activation)
            yield Need(role, _fused(workload, role, step) if count else workload, count, resident=resident_copies * n * k)

    @classmethod
    def examples(cls) -> Iterable[Gemv]:
        shapes = ((1, 1), (3, 5), (17, 129), (64, 896), (255, 2048), (1000, 1000), (2048, 8192), (2, 57344))
        for weight in ("f32", "bf16"):
            for n, k in shapes:
                yield cls(n=n, k=k, weight_format=weight)
        for weight in (name for name in format_names("weight") if name not in ("f32", "bf16")):
            for n, k in ((1, 1), (3, 5), (1, 32), (3, 96), (9, 128), (17, 129), (300, 1056), (1000, 2048)):
                if format_named(weight).refuses((n, k)) is None:
                    yield cls(n=n, k=k, weight_format=weight)
        yield cls(n=96, k=160, weight_format="bf16", activation_format="bf16")
        for weight in ("f32", "bf16", "int8", "int4", "fp8_block"):
            yield cls(n=256, k=128, weight_format=weight, norm="rmsnorm", gate="silu")
            yield cls(n=33, k=256, weight_format=weight, norm="layernorm", residual=True)
        yield cls(n=34, k=7, weight_format="bf16", norm="rmsnorm", norm_format="f32", gate="gelu", activation_format="bf16")

    @property
    def label(self) -> str:
        around = [self.norm, self.gate and f"{self.gate} gate", "residual" if self.residual else ""]
        return " + ".join([f"gemv {self.n}x{self.k} {self.weight_format}", *(part for part in around if part)])

    @property
    def _width(self) -> int:
        return self.n // 2 if self.gate else self.n

    @property
    def _result(self) -> Tensor:
        return Tensor((self._width,), self.activation_format, "activation")


def _fused(workload: Gemv, role: str, step: Step) -> Gemv:
    """The call with what engines fuse with it in its place in the step."""
    if step.fuses_gates and role.endswith("ffn_gate_up"):
        workload = replace(workload, gate=step.model.activation)
    if step.fuses_norms and role in ("qkv", "cross_query", "ffn_gate_up", "ffn_up", "lm_head"):
        workload = replace(workload, norm=step.model.norm, norm_format=step.formats.unquantised)
    if step.fuses_norms and role in ("attention_out", "cross_out", "ffn_down"):
        workload = replace(workload, residual=True)
    return workload


def _matrices(model: Model) -> Iterator[tuple[str, int, int, int, int]]:
    """(role, n, k, calls per token, matrices resident) of every matrix shape, bottom to top."""
    is_encoder_decoder = model.family == "encoder-decoder"
    yield from _attention_matrices(model, model.layers)
    if is_encoder_decoder:
        width = model.heads * model.head_dim
        yield "cross_query", width, model.d_model, model.layers, model.layers
        yield "cross_out", model.d_model, width, model.layers, model.layers
        # Keys and values of the encoder's output are made once per sequence, not per token.
        yield "cross_kv", 2 * width, model.d_model, 0, model.layers
    yield from _feed_forward_matrices(model)
    if is_encoder_decoder:
        for role, n, k, _, resident in (*_attention_matrices(model, model.layers), *_feed_forward_matrices(model)):
            yield f"encoder_{role}", n, k, 0, resident
    if model.family != "encoder":
        yield "lm_head", model.vocab, model.d_model, 1, 0 if model.tied else 1


def _attention_matrices(model: Model, layers: int) -> Iterator[tuple[str, int, int, int, int]]:
    query = model.heads * model.head_dim
    if model.latent is None:
        yield "qkv", query + 2 * model.kv_heads * model.head_dim, model.d_model, layers, layers
        yield "attention_out", model.d_model, query, layers, layers
        return
    # The up-projections of keys and values are a matrix per head: see `HeadGemv`.
    latent = model.latent
    if latent.q_lora:
        yield "query_down", latent.q_lora, model.d_model, layers, layers
        yield "query_up", query, latent.q_lora, layers, layers
    else:
        yield "query", query, model.d_model, layers, layers
    yield "kv_down", latent.kv_lora + latent.qk_rope, model.d_model, layers, layers
    yield "attention_out", model.d_model, model.heads * latent.v, layers, layers


def _feed_forward_matrices(model: Model) -> Iterator[tuple[str, int, int, int, int]]:
    dense = model.layers - model.mixture_layers
    up = 2 if model.gated else 1
    names = ("ffn_gate_up" if model.gated else "ffn_up", "ffn_down")
    if dense:
        yield names[0], up * model.d_ff, model.d_model, dense, dense
        yield names[1], model.d_model, model.d_ff, dense, dense
    if model.mixture is None:
        return
    mixture, layers = model.mixture, model.mixture_layers
    yield "router", mixture.experts, model.d_model, layers, layers
    # Shared experts are one feed-forward of their widths together. The others are calls of the op `experts`.
    width = mixture.shared_experts * mixture.d_ff_expert
    if width:
        yield f"shared_expert_{names[0]}", up * width, model.d_model, layers, layers
        yield f"shared_expert_{names[1]}", model.d_model, width, layers, layers
