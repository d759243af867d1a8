"""Write one token's keys and values into a cache of `context` tokens, whose buffer is donated."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from ..formats import format_named, format_names
from ..model import Step
from ..op import Cost, Need, Tensor, Workload
from .reference import update


@dataclass(frozen=True, kw_only=True)
class CacheUpdate(Workload):
    """Keys and values of `kv_heads` heads at one position, rounded to the cache's format.

    The cache is [kv_heads, context, head_dim], so that a head's history streams in one run. `value_dim` is 0 where values
    are a part of the keys (latent attention).
    """

    op: ClassVar[str] = "cache"
    donated: ClassVar[tuple[str, ...]] = ("keys", "values")
    kv_heads: int
    context: int
    head_dim: int
    value_dim: int
    kv_format: str
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"cache {self.kv_heads}x{self.context}x{self.head_dim} {self.kv_format}"

    def operands(self) -> dict[str, Tensor]:
        return (
            self._caches()
            | {f"new_{name}": self._row(tensor) for name, tensor in self._caches().items()}
            | {"position": Tensor((), "i32", "index", below=self.context)}
        )

    def share(self, chips: int) -> float:
        # Heads are whole: the chip with the most of them is waited for.
        return math.ceil(self.kv_heads / chips) / self.kv_heads

    def results(self) -> dict[str, Tensor]:
        return self._caches()

    def flops(self) -> float:
        return 0

    def touched(self) -> dict[str, float]:
        return {name: format_named(self.kv_format).nbytes(self._row(t).shape) for name, t in self._caches().items()}

    def cost(self) -> Cost:
        cost = super().cost()
        # A cache is an operand and a result: its row is written, and nothing of what was there is read.
        return replace(cost, reads=cost.reads | dict.fromkeys(self._caches(), 0.0))

    def reference(self, *, position: Any, **arrays: Any) -> tuple[Any, ...]:
        one = format_named(self.kv_format)
        rounded = {name: one.unpack(one.pack(arrays[f"new_{name}"])) for name in self._caches()}
        return tuple(update(arrays[name], rounded[name], int(position)) for name in self._caches())

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        if model.family == "encoder":
            return
        common: dict[str, Any] = {"kv_format": step.formats.kv, "activation_format": step.formats.activation}
        if model.latent is not None:
            width = model.latent.kv_lora + model.latent.qk_rope
            shape: dict[str, Any] = {"kv_heads": 1, "head_dim": width, "value_dim": 0}
        else:
            shape = {"kv_heads": model.kv_heads, "head_dim": model.head_dim, "value_dim": model.head_dim}
        full = model.layers - model.windowed_layers
        if full:
            yield Need("cache_update", cls(context=step.context, **shape, **common), full)
        if model.window is not None:
            context = min(step.context, model.window.size)
            yield Need("cache_update_window", cls(context=context, **shape, **common), model.windowed_layers)

    @classmethod
    def examples(cls) -> Iterable[CacheUpdate]:
        for kv in format_names("kv"):
            for heads, context, head_dim, value_dim in ((1, 1, 1, 1), (8, 100, 64, 64), (1, 33, 576, 0), (3, 17, 5, 5)):
                yield cls(kv_heads=heads, context=context, head_dim=head_dim, value_dim=value_dim, kv_format=kv)

    def _caches(self) -> dict[str, Tensor]:
        widths = {"keys": self.head_dim} | ({"values": self.value_dim} if self.value_dim else {})
        return {n: Tensor((self.kv_heads, self.context, w), self.kv_format, "kv") for n, w in widths.items()}

    def _row(self, cache: Tensor) -> Tensor:
        return Tensor((self.kv_heads, cache.shape[-1]), self.activation_format, "activation")
