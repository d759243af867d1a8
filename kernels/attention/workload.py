"""out[h] = softmax(q[h] K^T / sqrt(d)) V over a full cache: MHA, GQA, MQA and latent attention by head counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from ..formats import rows
from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import attend


@dataclass(frozen=True, kw_only=True)
class Attention(Workload):
    """`heads` queries against `context` cached tokens of `kv_heads` heads; all of them are attended to.

    With `shared_values`, the values are the first `value_dim` columns of the keys and are not stored again
    (latent attention). A sliding window is a cache of the window's length.
    """

    op: ClassVar[str] = "attention"
    heads: int
    kv_heads: int
    context: int
    head_dim: int
    value_dim: int
    shared_values: bool = False
    scale_dim: int
    kv_format: str
    activation_format: str = "f32"

    @property
    def scale(self) -> float:
        """1 / sqrt of the width that the model scales by (the un-absorbed head width for latent attention)."""
        return 1 / math.sqrt(self.scale_dim)

    def operands(self) -> dict[str, Tensor]:
        query = {"query": Tensor((self.heads, self.head_dim), self.activation_format, "activation")}
        keys = {"keys": Tensor((self.kv_heads, self.context, self.head_dim), self.kv_format, "kv")}
        values = {"values": Tensor((self.kv_heads, self.context, self.value_dim), self.kv_format, "kv")}
        return query | keys | ({} if self.shared_values else values)

    def results(self) -> dict[str, Tensor]:
        return {"out": Tensor((self.heads, self.value_dim), self.activation_format, "activation")}

    def flops(self) -> float:
        # q K^T and weights V, and for each score a scale, a subtract, an exponential and a sum.
        return self.heads * self.context * (2 * self.head_dim + 2 * self.value_dim + 4)

    def tolerance(self) -> float:
        # float32 exponentials of scores of order sqrt(2 ln context) carry their absolute rounding into the weights.
        return max(super().tolerance(), 2e-5)

    def reference(self, *, query: Any, keys: Any, values: Any = None) -> tuple[Any, ...]:
        return (attend(query, keys, keys[..., : self.value_dim] if self.shared_values else values, self.scale),)

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        group = self.heads // self.kv_heads
        for head in range(self.kv_heads):
            cached = {name: rows(part, slice(head, head + 1)) for name, part in packed.items() if name != "query"}
            yield {"query": rows(packed["query"], slice(head * group, (head + 1) * group)), **cached}

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        if model.family == "encoder":
            return
        common = {"heads": model.heads, "kv_format": step.formats.kv, "activation_format": step.formats.activation}
        if model.latent is not None:
            latent = model.latent
            width = latent.kv_lora + latent.qk_rope
            shape: dict[str, Any] = {"kv_heads": 1, "head_dim": width, "value_dim": latent.kv_lora, "shared_values": True}
            shape["scale_dim"] = latent.qk_nope + latent.qk_rope
        else:
            width = model.head_dim
            shape = {"kv_heads": model.kv_heads, "head_dim": width, "value_dim": width, "scale_dim": width}
        full = model.layers - model.windowed_layers
        if full:
            yield Need("attention", cls(context=step.context, **shape, **common), full)
        if model.window is not None:
            context = min(step.context, model.window.size)
            yield Need("attention_window", cls(context=context, **shape, **common), model.windowed_layers)
        if model.family == "encoder-decoder":
            # The encoder's sequence is taken to be as long as the decoder's context.
            yield Need("attention_cross", cls(context=step.context, **shape, **common), model.layers)

    @classmethod
    def examples(cls) -> Iterable[Attention]:
        for kv in ("f32", "bf16"):
            for heads, kv_heads, context, head_dim in (
                (1, 1, 1, 1),
                (32, 8, 100, 64),
                (4, 4, 33, 128),
                (14, 1, 257, 64),
                (6, 2, 1000, 5),
            ):
                common: dict[str, Any] = {"head_dim": head_dim, "value_dim": head_dim, "scale_dim": head_dim}
                yield cls(heads=heads, kv_heads=kv_heads, context=context, kv_format=kv, **common)
            yield cls(
                heads=16, kv_heads=1, context=65, head_dim=576, value_dim=512, shared_values=True, scale_dim=192, kv_format=kv
            )

    @property
    def label(self) -> str:
        return f"attention {self.heads}/{self.kv_heads}x{self.head_dim} context {self.context} {self.kv_format}"
