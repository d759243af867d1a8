"""How an encoder's layers follow each other: written once, and run in float64 or on a device.

The calls are those that the ops list for one token, each for all tokens at once: matrices times matrices, where a decode
step has matrices times vectors. Norms stand after each residual add instead of before the layer (BERT, arXiv:1810.04805).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from ..model import Model
from ..op import Workload
from ..step.compose import Composition


class Arithmetic(Protocol):
    """What an encoder is computed with."""

    def rows(self, table: Any, format: str, indices: Any) -> Any:
        """Rows [context, d] of a packed table."""
        ...

    def product(self, weight: Any, format: str, x: Any) -> Any:
        """X W^T [context, n] of a packed matrix [n, k] and x [context, k]."""
        ...

    def attend(self, query: Any, keys: Any, values: Any, scale: float) -> Any:
        """[context, heads * head_dim] from [context, heads, head_dim]; every token attends to every other."""
        ...

    def call(self, call: Workload, operands: Mapping[str, Any]) -> tuple[Any, ...]:
        """The results of an op that takes several rows."""
        ...


def missing_part(model: Model) -> str | None:
    """What a model has that no forward pass is composed of, or None."""
    parts = {
        f"the {model.family} stack": model.family != "encoder",
        "mixture-of-experts layers": model.mixture is not None,
        "latent attention": model.latent is not None,
        "sliding-window attention": model.window is not None,
        f"{model.position} positions": model.position not in ("learned", "none"),
        "norms of queries and keys": model.qk_norm,
        "parallel blocks": model.parallel_block,
        "norms of what a layer gives": model.post_norm,
        "attention sinks": model.attention_sinks,
        "an attention softcap": model.attention_softcap > 0,
    }
    return next((part for part, is_there in parts.items() if is_there), None)


@dataclass(frozen=True)
class Encoding:
    """A forward pass over a text.

    Attributes:
        whole: the calls of one token, and the names of the weights.
        calls: those calls that take all tokens at once.
        arithmetic: computes them and all else.
        arrays: packed weights by name.
    """

    whole: Composition
    calls: Mapping[str, Workload]
    arithmetic: Arithmetic
    arrays: Mapping[str, Any]

    def run(self, tokens: Any, positions: Any) -> Any:
        """What the last layer gives for each token, [context, d_model]."""
        model = self.whole.step.model
        x = self._rows("embedding", tokens)
        if model.position == "learned":
            x = x + self._rows("position", positions)
        (y,) = self._call("first_norm", 0, x=x)
        for layer in range(model.layers):
            y, _ = self._call("ffn_norm", layer, x=self._attention(y, layer), residual=y)
            last = layer + 1 == model.layers
            after = ("final_norm", None) if last else ("attention_norm", layer + 1)
            y, _ = self._call(*after, x=self._feed_forward(y, layer), residual=y)
        return y

    def _attention(self, x: Any, layer: int) -> Any:
        model = self.whole.step.model
        y = self._product("qkv", layer, x)
        if model.qkv_bias:
            y = y + self.arrays[f"layers.{layer}.qkv.bias"].astype(y.dtype)
        heads = y.reshape(len(y), -1, model.head_dim)
        query, keys = heads[:, : model.heads], heads[:, model.heads : model.heads + model.kv_heads]
        scale = (model.scale_dim or model.head_dim) ** -0.5
        return self._product("attention_out", layer, self.arithmetic.attend(query, keys, heads[:, -model.kv_heads :], scale))

    def _feed_forward(self, x: Any, layer: int) -> Any:
        wide = self._product("ffn_gate_up" if self.whole.step.model.gated else "ffn_up", layer, x)
        (active,) = self._call("activation", layer, x=wide)
        return self._product("ffn_down", layer, active)

    def _call(self, role: str, layer: int | None, **operands: Any) -> tuple[Any, ...]:
        kept = {name: self.arrays[array] for name, array in self.whole.kept(role, layer).items()}
        return self.arithmetic.call(self.calls[role], kept | operands)

    def _product(self, role: str, layer: int, x: Any) -> Any:
        weight = self.arrays[self.whole.kept(role, layer)["weight"]]
        return self.arithmetic.product(weight, self.whole.call(role).operands()["weight"].format, x)

    def _rows(self, role: str, indices: Any) -> Any:
        table = self.arrays[self.whole.kept(role, None)["table"]]
        return self.arithmetic.rows(table, self.whole.call(role).operands()["table"].format, indices)
