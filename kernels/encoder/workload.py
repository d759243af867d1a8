"""stream = encoder(weights, tokens): the forward pass of BERT and its kin over a text of `context` tokens."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from ..activation import Activation
from ..attention import Attention
from ..model import Formats, Model, Step
from ..norm import Norm
from ..op import Cost, Tensor, Workload
from ..step.whole import Whole
from .compose import Encoding, missing_part
from .reference import Float64


@dataclass(frozen=True, kw_only=True)
class EncoderPass(Whole):
    """One forward pass of `model`. Its shapes are those of the calls that the ops list for one token of it.

    Tokens beyond the model's last learned position have that position.

    Raises:
        ValueError: if the model is no encoder, or has a part that no forward pass is composed of.
    """

    op: ClassVar[str] = "encoder"
    what: ClassVar[str] = "a forward pass"
    activation_format: str = "f32"

    @property
    def step(self) -> Step:
        return Step(self.model, self.context, Formats(self.weight_format, activation=self.activation_format))

    @staticmethod
    def missing_part(model: Model) -> str | None:
        return missing_part(model)

    @property
    def calls(self) -> dict[str, Workload]:
        """The calls of ops that take all tokens at once, by role; the others are products of matrices, and look-ups."""
        calls = {role: need.workload for role, need in self.composition.needs.items()}
        return {role: replace(one, rows=self.context) for role, one in calls.items() if isinstance(one, Norm | Activation)}

    @property
    def positions(self) -> np.ndarray:
        """The position of each token."""
        return np.minimum(np.arange(self.context, dtype=np.int32), self.model.max_context - 1)

    @property
    def label(self) -> str:
        return f"encoder {self.model.name} {self.model.layers} layers {self.context} tokens {self.weight_format}"

    def operands(self) -> dict[str, Tensor]:
        return self.composition.arrays() | {"tokens": Tensor((self.context,), "i32", "index", below=self.model.vocab)}

    def results(self) -> dict[str, Tensor]:
        return {"stream": Tensor((self.context, self.model.d_model), self.activation_format, "activation")}

    def flops(self) -> float:
        needs = self.composition.needs.values()
        calls = sum(need.count * need.workload.flops() for need in needs)
        return self.context * (calls + self.model.layers * self._attention.flops())

    def cost(self) -> Cost:
        """Each weight once, and of tables a row for each token. Calls hand each other `activations`; biases are not counted."""
        reads, writes = dict.fromkeys(self.operands(), 0.0), dict.fromkeys(self.results(), 0.0)
        reads["activations"] = writes["activations"] = 0.0
        for role, layer in self.composition.places():
            call, names = self.composition.call(role), self.composition.kept(role, layer)
            cost = call.cost()
            for name, size in cost.reads.items():
                is_once = name in names and call.op != "embedding"
                reads[names.get(name, "activations")] += size * (1 if is_once else self.context)
            writes["activations"] += self.context * sum(cost.writes.values())
        # A token's keys and values are read where they were written: once for all queries.
        attention = self._attention.cost()
        reads["activations"] += self.model.layers * (self.context * attention.reads["query"] + attention.streamed_bytes)
        writes["activations"] += self.model.layers * self.context * attention.writes["out"]
        streamed = frozenset(name for name, tensor in self.operands().items() if tensor.role == "weight")
        return Cost(self.flops(), reads, writes, streamed)

    def tolerance(self) -> float:
        """The calls' errors are independent and add up as squares."""
        calls = [(need.count, need.workload) for need in self.composition.needs.values()]
        return math.sqrt(sum(count * one.tolerance() ** 2 for count, one in [*calls, (self.model.layers, self._attention)]))

    def expected(self, packed: Mapping[str, Any]) -> tuple[Any, ...]:
        tokens = np.asarray(packed["tokens"]).astype(int)
        return (Encoding(self.composition, self.calls, Float64(), packed).run(tokens, self.positions),)

    @classmethod
    def examples(cls) -> Iterable[EncoderPass]:
        shape: dict[str, Any] = {"family": "encoder", "d_model": 48, "heads": 4, "head_dim": 12, "d_ff": 80, "vocab": 101}
        old: dict[str, Any] = {
            "norm": "layernorm",
            "position": "learned",
            "gated": False,
            "activation": "gelu",
            "qkv_bias": True,
        }
        bert = Model(name="small-bert", layers=2, kv_heads=4, max_context=64, tied=True, **shape, **old)
        yield cls(model=bert, context=1, weight_format="f32")
        yield cls(model=bert, context=70)
        yield cls(model=bert, context=9, activation_format="bf16")
        yield cls(model=bert, context=5, weight_format="int8")
        yield cls(model=Model(name="small-gated", layers=1, kv_heads=2, max_context=64, position="none", **shape), context=33)

    @property
    def _attention(self) -> Attention:
        """One token's, as the op counts it."""
        model = self.model
        widths: dict[str, Any] = {
            "head_dim": model.head_dim,
            "value_dim": model.head_dim,
            "scale_dim": model.scale_dim or model.head_dim,
        }
        formats: dict[str, Any] = {"kv_format": self.activation_format, "activation_format": self.activation_format}
        return Attention(heads=model.heads, kv_heads=model.kv_heads, context=self.context, **widths, **formats)
