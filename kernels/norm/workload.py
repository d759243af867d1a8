"""y = norm(x + r): normalisation over the last axis, giving the new residual stream too."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import layernorm, rmsnorm


@dataclass(frozen=True, kw_only=True)
class Norm(Workload):
    """`rows` vectors of `d`, normed each on its own; with `residual`, `x + residual` is normed and returned too."""

    op: ClassVar[str] = "norm"
    kind: Literal["rmsnorm", "layernorm"]
    d: int
    rows: int = 1
    residual: bool = False
    weight_format: str
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        rows = f"{self.rows}x" if self.rows > 1 else ""
        return f"{self.kind} {rows}{self.d} {self.weight_format}{' + residual' if self.residual else ''}"

    def operands(self) -> dict[str, Tensor]:
        stream = Tensor((self.rows, self.d), self.activation_format, "activation")
        learned = Tensor((self.d,), self.weight_format, "weight")
        return (
            {"x": stream}
            | ({"residual": stream} if self.residual else {})
            | {"scale": learned}
            | ({"bias": learned} if self.kind == "layernorm" else {})
        )

    def results(self) -> dict[str, Tensor]:
        stream = Tensor((self.rows, self.d), self.activation_format, "activation")
        return {"y": stream} | ({"stream": stream} if self.residual else {})

    def flops(self) -> float:
        # Square, sum, scale by the root, scale by the weight; LayerNorm also subtracts the mean it sums and adds a bias.
        per_element = (4 if self.kind == "rmsnorm" else 7) + self.residual
        return per_element * self.rows * self.d

    def reference(self, *, x: Any, scale: Any, residual: Any = None, bias: Any = None) -> tuple[Any, ...]:
        stream = x + residual if self.residual else x
        y = rmsnorm(stream, scale) if self.kind == "rmsnorm" else layernorm(stream, scale, bias)
        return (y, stream) if self.residual else (y,)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        formats = step.formats
        plain = cls(kind=model.norm, d=model.d_model, weight_format=formats.unquantised, activation_format=formats.activation)
        fused = replace(plain, residual=True)
        layers = model.layers
        # The first norm of the stack follows the embedding, so nothing is added to it yet. In a post-norm model
        # (BERT) the norms stand after the layers instead of before them, but they are the same calls.
        if not step.fuses_norms:
            yield Need("first_norm", plain, 1)
            if layers > 1:
                yield Need("attention_norm", fused, layers - 1)
        if model.latent is not None:
            if model.latent.q_lora:
                yield Need("query_latent_norm", replace(plain, d=model.latent.q_lora), layers)
            yield Need("kv_latent_norm", replace(plain, d=model.latent.kv_lora), layers)
        if model.qk_norm:
            heads = replace(plain, kind="rmsnorm", d=model.head_dim, rows=model.heads + model.kv_heads)
            yield Need("qk_norm", heads, layers)
        if step.fuses_norms:
            return
        if model.post_norm:
            yield Need("attention_post_norm", plain, layers)
        if model.family == "encoder-decoder":
            yield Need("cross_norm", fused, layers)
        if not model.parallel_block:
            yield Need("ffn_norm", fused, layers)
        elif model.parallel_norms > 1:
            yield Need("ffn_norm", plain, layers * (model.parallel_norms - 1))
        if model.post_norm:
            yield Need("ffn_post_norm", plain, layers)
        yield Need("final_norm", fused, 1)

    @classmethod
    def examples(cls) -> Iterable[Norm]:
        for weight in ("f32", "bf16"):
            for kind in ("rmsnorm", "layernorm"):
                for rows, d, residual in ((1, 1, False), (1, 7, True), (1, 2048, True), (40, 128, False), (3, 1001, True)):
                    yield cls(kind=kind, d=d, rows=rows, residual=residual, weight_format=weight)
