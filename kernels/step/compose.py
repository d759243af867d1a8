"""How the calls of a decode step follow each other: written once, and run in float64 or on a device.

Arrays may be NumPy's or JAX's. Which call stands where, and at which shape, is read from the list that the ops give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Latent, Model, Step
from ..op import Need, Tensor, Workload
from ..registry import op_named, op_names
from . import roles
from .block import Block

Run = Callable[..., tuple[Any, ...]]
"""Called as `run(call, **operands)`; returns the results in order."""

_LEARNED = ("sinks", "slopes", "table")
"""Operands of attention that are learned, though a call counts so few numbers as hot."""
_OF_ALL_LAYERS = ("slopes", "table")
"""ALiBi's slopes depend on the head alone (arXiv:2108.12409), and T5's layers share one table (arXiv:1910.10683)."""


def missing_part(model: Model) -> str | None:
    """What a model has that no whole step is composed of, or None."""
    is_latent, is_biased = model.latent is not None, model.position in ("alibi", "relative")
    parts = {
        f"the {model.family} stack": model.family == "encoder",
        f"{model.position} positions in a sliding window, whose cache is a ring without distances": is_biased
        and model.window is not None,
        "biases of queries, keys and values in latent attention": is_latent and model.qkv_bias,
        "norms of queries and keys in latent attention": is_latent and model.qk_norm,
        "cross-attention in parallel blocks": model.family == "encoder-decoder" and model.parallel_block,
    }
    return next((part for part, is_there in parts.items() if is_there), None)


@dataclass(frozen=True)
class Composition:
    """The calls of a step by role, and the arrays that stay between steps: weights and caches, by name.

    Names are `embedding.table`, `layers.3.qkv.weight`, `layers.3.keys`, `final_norm.scale`. A tied LM head has no
    weight of its own. What the encoder left for cross-attention is `layers.3.cross_keys`; it is read and never written.
    What attention adds to scores by distance is the same in all layers: `attention.slopes`, `attention.table`. Two belong
    to no call, but stand between two: `layers.3.qkv.bias`, and `layers.3.qk_norm.key_ratio`, the keys' norm weights over
    the queries', which one call norms together. A softcap of the logits is computed between two calls as well.
    """

    step: Step
    needs: Mapping[str, Need]

    @classmethod
    def of(cls, step: Step) -> Composition:
        """The composition of a step whose model has no `missing_part`."""
        needs = [need for op in op_names() for need in op_named(op).needed_by(step) if need.count]
        return cls(step, {need.role: need for need in needs})

    def call(self, role: str) -> Workload:
        """The call of a role."""
        return self.needs[role].workload

    def is_windowed(self, layer: int) -> bool:
        """Whether a layer attends to the sliding window only."""
        window = self.step.model.window
        return window is not None and layer % (window.local + window.full) < window.local

    def is_mixture(self, layer: int) -> bool:
        """Whether a layer's feed-forward is a mixture of experts."""
        mixture = self.step.model.mixture
        if mixture is None or layer < mixture.first_dense_layers:
            return False
        return (layer - mixture.first_dense_layers) % mixture.layer_step == mixture.layer_step - 1

    @property
    def latent(self) -> Latent:
        """The widths of latent attention, of a model that has it."""
        if self.step.model.latent is None:
            raise ValueError(f"{self.step.model.name} has no latent attention")
        return self.step.model.latent

    def places(self) -> Iterator[tuple[str, int | None]]:
        """Role and layer of every call of one token, in order."""
        yield from self._there(None, roles.INPUT)
        for layer in range(self.step.model.layers):
            others = self._done_elsewhere(layer)
            yield from self._there(layer, (role for role in roles.LAYER if role not in others))
        yield from self._there(None, roles.OUTPUT)

    def left_out(self) -> str | None:
        """The calls that an op lists for the step and that stand nowhere in it, in words, or None."""
        unplaced = self.needs.keys() - {role for role, _ in self.places()}
        return f"calls of a role that has no place in it: {', '.join(sorted(unplaced))}" if unplaced else None

    def kept(self, role: str, layer: int | None) -> dict[str, str]:
        """The operands of a call that stay between steps, with the names of their arrays."""
        shared = {"weight": "embedding.table"} if role == "lm_head" and self.shares_table() else {}
        start, cross = "" if layer is None else f"layers.{layer}.", "cross_" if role == "attention_cross" else ""
        kinds = {name: tensor.role for name, tensor in self.call(role).operands().items()}
        weights = {name: f"{start}{role}.{name}" for name, kind in kinds.items() if kind == "weight"}
        if self.call(role).op == "attention":
            of_layer = {name: f"{start}{role}.{name}" for name in _LEARNED if name in kinds}
            weights = of_layer | {name: f"attention.{name}" for name in _OF_ALL_LAYERS if name in kinds}
        return weights | shared | {name: f"{start}{cross}{name}" for name, kind in kinds.items() if kind == "kv"}

    def arrays(self) -> dict[str, Tensor]:
        """Weights and caches. A windowed layer caches no more than its window, as a ring."""
        found = {
            array: self.call(role).operands()[name]
            for role, layer in self.places()
            for name, array in self.kept(role, layer).items()
        }
        return found | self._between_calls()

    def caches(self) -> dict[str, Tensor]:
        """The arrays that a step writes to, in the order of their names: JAX pairs donated arguments, which it sorts, with
        results of the same shape one by one, and copies every cache that is handed on to another's buffer.
        """
        updates = ((role, layer) for role, layer in self.places() if self.call(role).op == "cache")
        written = {array for role, layer in updates for array in self.kept(role, layer).values()}
        return {name: tensor for name, tensor in sorted(self.arrays().items()) if name in written}

    def choices(self) -> dict[str, Tensor]:
        """The experts that each mixture of a step chooses."""
        layers = [layer for layer in range(self.step.model.layers) if self.is_mixture(layer)]
        return {f"layers.{layer}.chosen": self.call("routing").results()["chosen"] for layer in layers}

    def shares_table(self) -> bool:
        """Whether the LM head reads the embedding table."""
        table, head = self.call("embedding").operands()["table"], self.call("lm_head").operands()["weight"]
        return self.step.model.tied and table == head

    def run(self, run: Run, arrays: Mapping[str, Any], token: Any, position: Any, uniform: Any = None) -> dict[str, Any]:
        """One step.

        Args:
            run: computes a call.
            arrays: weights and caches by name.
            token: the last token.
            position: its place in the sequence, from 0.
            uniform: decides the draw, unless sampling is greedy.

        Returns:
            The caches by name, then each mixture's `chosen` experts, then `logits` and the next `token`.
        """
        model, caches, chosen = self.step.model, {}, {}
        outside = Block(self, run, arrays, None)
        (stream,) = outside.run("embedding", index=token)
        if model.position == "learned":
            (stream,) = outside.run("position", index=position, x=stream)
        stream, added = stream.reshape(1, -1), None
        for layer in range(model.layers):
            one = Block(self, run, arrays, layer)
            y, stream = one.normed("attention_norm" if layer else "first_norm", stream, added)
            attended, new = one.attention(y, position, stream)
            caches |= new
            if model.family == "encoder-decoder":
                y, stream = one.normed("cross_norm", stream, attended)
                attended = one.cross_attention(y, stream)
            if model.parallel_block:
                if model.parallel_norms > 1:
                    y, _ = one.normed("ffn_norm", stream, None)
                added, new = one.feed_forward(y, attended)
                added = added if self.step.fuses_norms else attended + added
            else:
                y, stream = one.normed("ffn_norm", stream, attended)
                added, new = one.feed_forward(y, stream)
            chosen |= new
        y, _ = outside.normed("final_norm", stream, added)
        (logits,) = outside.run("lm_head", x=y)
        if model.logit_softcap:
            logits = model.logit_softcap * logits.__array_namespace__().tanh(logits / model.logit_softcap)
        draw = {} if self.step.sampling == "greedy" else {"uniform": uniform}
        (token,) = outside.run("sampling", logits=logits, **draw)
        return dict(sorted(caches.items())) | chosen | {"logits": logits, "token": token}

    def _there(self, layer: int | None, some: Iterable[str]) -> Iterator[tuple[str, int | None]]:
        return ((role, layer) for role in some if role in self.needs)

    def _done_elsewhere(self, layer: int) -> frozenset[str]:
        """What layers of other kinds do."""
        norm = roles.FIRST_NORM if layer else roles.LATER_NORM
        attention = roles.FULL if self.is_windowed(layer) else roles.WINDOWED
        return frozenset((norm, *attention, *(roles.DENSE if self.is_mixture(layer) else roles.MIXTURE)))

    def _between_calls(self) -> dict[str, Tensor]:
        model, found = self.step.model, {}
        for layer in range(model.layers):
            if model.qkv_bias:
                (n,) = self.call("qkv").results()["y"].shape
                found[f"layers.{layer}.qkv.bias"] = Tensor((n,), self.step.formats.unquantised, "weight")
            if model.qk_norm:
                # In float32: the ratio of two rounded numbers is not rounded once more.
                found[f"layers.{layer}.qk_norm.key_ratio"] = Tensor((model.head_dim,), "f32", "weight")
        return found
