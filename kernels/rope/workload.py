"""Rotate `heads` vectors of `head_dim` (queries and keys together) to one position."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import rotate


@dataclass(frozen=True, kw_only=True)
class Rope(Workload):
    """All heads of one token, rotated to `position` in [0, `max_context`); angles are computed, not looked up."""

    op: ClassVar[str] = "rope"
    heads: int
    head_dim: int
    max_context: int
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"rope {self.heads}x{self.head_dim}"

    def operands(self) -> dict[str, Tensor]:
        return {
            "x": Tensor((self.heads, self.head_dim), self.activation_format, "activation"),
            "position": Tensor((), "i32", "index", below=self.max_context),
        }

    def results(self) -> dict[str, Tensor]:
        return {"y": Tensor((self.heads, self.head_dim), self.activation_format, "activation")}

    def flops(self) -> float:
        # Four multiplies and two adds per pair, one angle per frequency.
        return 3 * self.heads * self.head_dim + self.head_dim // 2

    def tolerance(self) -> float:
        # The angle position * frequency is rounded to float32: half an ulp at the largest position, in radians.
        return max(super().tolerance(), self.max_context * 2.0**-24)

    def reference(self, *, x: Any, position: Any) -> tuple[Any, ...]:
        return (rotate(x, int(position)),)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        if model.position != "rope":
            return
        heads = model.heads + (1 if model.latent else model.kv_heads)
        head_dim = model.latent.qk_rope if model.latent else model.head_dim
        workload = cls(heads=heads, head_dim=head_dim, max_context=model.max_context, activation_format=step.formats.activation)
        yield Need("rope", workload, model.layers)

    @classmethod
    def examples(cls) -> Iterable[Rope]:
        for heads, head_dim, context in ((1, 2, 8), (40, 64, 2048), (3, 6, 100), (36, 128, 8192)):
            yield cls(heads=heads, head_dim=head_dim, max_context=context)
