"""out[h] = softmax(q[h] K^T / sqrt(d)) V over a full cache: MHA, GQA, MQA and latent attention by head counts."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..formats import format_names, rows
from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import BUCKETS, alibi, attend, relative

_BIAS_FLOPS = {"": 0, "alibi": 2, "relative": 1}
_CACHED = ("keys", "values")


@dataclass(frozen=True, kw_only=True)
class Attention(Workload):
    """`heads` queries against `context` cached tokens of `kv_heads` heads; all of them are attended to.

    With `shared_values`, the values are the first `value_dim` columns of the keys and are not stored again
    (latent attention). A sliding window is a cache of the window's length.

    Attributes:
        scale_dim: scores are divided by its square root.
        sinks: each head has one more learned score, which only joins the softmax's denominator (gpt-oss).
        softcap: scores are squashed to +-this by tanh; 0 for none (Gemma 2).
        bias: what is added to a score for the distance between its tokens, of which the last in the cache is the newest:
            `alibi` minus a slope per head times the distance (arXiv:2108.12409), `relative` an entry of a learned table
            of a few buckets per head (T5, arXiv:1910.10683).
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
    sinks: bool = False
    softcap: float = 0.0
    bias: Literal["", "alibi", "relative"] = ""

    @property
    def scale(self) -> float:
        """1 / sqrt of the width that the model scales by (the un-absorbed head width for latent attention)."""
        return 1 / math.sqrt(self.scale_dim)

    def operands(self) -> dict[str, Tensor]:
        query = {"query": Tensor((self.heads, self.head_dim), self.activation_format, "activation")}
        keys = {"keys": Tensor((self.kv_heads, self.context, self.head_dim), self.kv_format, "kv")}
        values = {"values": Tensor((self.kv_heads, self.context, self.value_dim), self.kv_format, "kv")}
        return query | keys | ({} if self.shared_values else values) | self._learned()

    def share(self, chips: int) -> float:
        # Heads are whole: the chip with the most of them is waited for.
        return math.ceil(self.kv_heads / chips) / self.kv_heads

    def results(self) -> dict[str, Tensor]:
        return {"out": Tensor((self.heads, self.value_dim), self.activation_format, "activation")}

    def flops(self) -> float:
        # q K^T and weights V, and for each score a scale, a subtract, an exponential and a sum. A cap divides, squashes
        # and multiplies.
        per_score = 2 * self.head_dim + 2 * self.value_dim + 4 + (3 if self.softcap else 0) + _BIAS_FLOPS[self.bias]
        return self.heads * (self.context * per_score + (2 if self.sinks else 0))

    def tolerance(self) -> float:
        # float32 exponentials of scores of order sqrt(2 ln context) carry their absolute rounding into the weights.
        return max(super().tolerance(), 2e-5)

    def reference(
        self, *, query: Any, keys: Any, values: Any = None, sinks: Any = None, slopes: Any = None, table: Any = None
    ) -> tuple[Any, ...]:
        values = keys[..., : self.value_dim] if values is None else values
        bias = self.added(slopes=slopes, table=table)
        return (attend(query, keys, values, self.scale, softcap=self.softcap, bias=bias, sinks=sinks),)

    def added(self, *, slopes: Any = None, table: Any = None) -> Any:
        """What is added to the scores, [heads, context], from the operand that it is made of; None for nothing."""
        if slopes is not None:
            return alibi(slopes, self.context)
        return None if table is None else relative(table, self.context)

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        group = self.heads // self.kv_heads
        for head in range(self.kv_heads):
            of_head = {name: slice(head, head + 1) for name in _CACHED}
            of_group = slice(head * group, (head + 1) * group)
            yield {name: rows(part, of_head.get(name, of_group)) for name, part in packed.items()}

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        if model.family == "encoder":
            return
        common: dict[str, Any] = {
            "heads": model.heads,
            "scale_dim": model.scale_dim or model.head_dim,
            "kv_format": step.formats.kv,
            "activation_format": step.formats.activation,
            "sinks": model.attention_sinks,
            "softcap": model.attention_softcap,
        }
        if model.latent is not None:
            latent = model.latent
            width = latent.kv_lora + latent.qk_rope
            shape: dict[str, Any] = {"kv_heads": 1, "head_dim": width, "value_dim": latent.kv_lora, "shared_values": True}
        else:
            shape = {"kv_heads": model.kv_heads, "head_dim": model.head_dim, "value_dim": model.head_dim}
        bias = model.position if model.position in ("alibi", "relative") else ""
        full = model.layers - model.windowed_layers
        if full:
            yield Need("attention", cls(context=step.context, bias=bias, **shape, **common), full)
        if model.window is not None:
            context = min(step.context, model.window.size)
            yield Need("attention_window", cls(context=context, bias=bias, **shape, **common), model.windowed_layers)
        if model.family == "encoder-decoder":
            # The encoder's tokens have no distance to the decoder's. They are taken to be as many as the decoder's context.
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
                yield _of(heads, kv_heads, context, head_dim, kv_format=kv)
            yield cls(
                heads=16, kv_heads=1, context=65, head_dim=576, value_dim=512, shared_values=True, scale_dim=192, kv_format=kv
            )
            yield _of(16, 2, 129, 64, kv_format=kv, sinks=True)
        yield _of(8, 4, 77, 40, kv_format="bf16", softcap=50.0)
        yield _of(12, 12, 300, 64, kv_format="bf16", bias="relative")
        yield _of(5, 5, 90, 32, kv_format="bf16", bias="alibi")
        yield _of(6, 2, 2, 7, kv_format="bf16", bias="alibi", softcap=2.0, sinks=True)
        for kv in (name for name in format_names("kv") if name not in ("f32", "bf16")):
            yield _of(1, 1, 1, 1, kv_format=kv)
            yield _of(3, 3, 85, 34, kv_format=kv)
            yield _of(32, 8, 100, 64, kv_format=kv)
            yield _of(6, 2, 333, 5, kv_format=kv, bias="relative", softcap=2.0, sinks=True)
            yield cls(
                heads=16, kv_heads=1, context=65, head_dim=576, value_dim=512, shared_values=True, scale_dim=192, kv_format=kv
            )

    @property
    def label(self) -> str:
        variant = [f"softcap {self.softcap:g}"] * bool(self.softcap) + [self.bias] * bool(self.bias) + ["sinks"] * self.sinks
        shape = f"{self.heads}/{self.kv_heads}x{self.head_dim} context {self.context} {self.kv_format}"
        return " ".join([self.op, shape, *variant])

    def _learned(self) -> dict[str, Tensor]:
        # A few numbers per head: next to a cache they are nothing that could stream, and so they count as hot.
        sinks = {"sinks": Tensor((self.heads,), "f32", "activation")} if self.sinks else {}
        if self.bias == "alibi":
            return sinks | {"slopes": Tensor((self.heads,), "f32", "activation", below=1)}
        return sinks | ({"table": Tensor((self.heads, BUCKETS), "f32", "activation")} if self.bias == "relative" else {})


def _of(heads: int, kv_heads: int, context: int, head_dim: int, **other: Any) -> Attention:
    widths = {"head_dim": head_dim, "value_dim": head_dim, "scale_dim": head_dim}
    return Attention(heads=heads, kv_heads=kv_heads, context=context, **widths, **other)
