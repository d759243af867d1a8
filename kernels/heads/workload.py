"""y[h, n] = W[h, n, k] x[h, k]: each head's own matrix times its own vector."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..formats import format_named, format_names, rows
from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import head_gemv


@dataclass(frozen=True, kw_only=True)
class HeadGemv(Workload):
    """A matrix of `n` rows times a vector of `k`, for each of `heads` heads; row-major, so that a row streams in one run.

    With the weights of latent attention absorbed (DeepSeek-V2, arXiv:2405.04434, section 2.1.2) the up-projections of keys
    and values are never multiplied with the cache: `key_up` takes the queries into the latent space before attention,
    and `value_up` takes what was attended to out of it.
    """

    op: ClassVar[str] = "heads"
    heads: int
    n: int
    k: int
    weight_format: str
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"heads {self.heads}x{self.n}x{self.k} {self.weight_format}"

    def operands(self) -> dict[str, Tensor]:
        return {
            "weight": Tensor((self.heads, self.n, self.k), self.weight_format, "weight"),
            "x": Tensor((self.heads, self.k), self.activation_format, "activation"),
        }

    def share(self, chips: int) -> float:
        # Heads are whole: the chip with the most of them is waited for.
        return math.ceil(self.heads / chips) / self.heads

    def results(self) -> dict[str, Tensor]:
        return {"y": Tensor((self.heads, self.n), self.activation_format, "activation")}

    def flops(self) -> float:
        return 2 * self.heads * self.n * self.k

    def tolerance(self) -> float:
        # Summed one by one, k products carry a rounding that grows as the square root of k.
        return max(super().tolerance(), math.sqrt(self.k) * 2.0**-24)

    def reference(self, *, weight: Any, x: Any) -> tuple[Any, ...]:
        return (head_gemv(weight, x),)

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        for head in range(self.heads):
            yield {name: rows(part, slice(head, head + 1)) for name, part in packed.items()}

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model, latent = step.model, step.model.latent
        if latent is None:
            return
        for role, n, k in (("key_up", latent.kv_lora, latent.qk_nope), ("value_up", latent.v, latent.kv_lora)):
            formats = {"weight_format": step.formats.weight, "activation_format": step.formats.activation}
            workload = cls(heads=model.heads, n=n, k=k, **formats)
            yield Need(role, workload, model.layers, resident=model.layers * model.heads * n * k)

    @classmethod
    def examples(cls) -> Iterable[HeadGemv]:
        for weight in format_names("weight"):
            for heads, n, k in ((1, 1, 1), (3, 17, 129), (16, 512, 128), (16, 128, 512), (128, 64, 5), (5, 3, 96)):
                if format_named(weight).refuses((heads, n, k)) is None:
                    yield cls(heads=heads, n=n, k=k, weight_format=weight)
        yield cls(heads=7, n=96, k=160, weight_format="bf16", activation_format="bf16")
