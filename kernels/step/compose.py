"""How the calls of a decode step follow each other: written once, and run in float64 or on a device.

Arrays may be NumPy's or JAX's. Which call stands where, and at which shape, is read from the list that the ops give.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ..model import Model, Step
from ..op import Need, Tensor, Workload
from ..registry import op_named, op_names

Run = Callable[..., tuple[Any, ...]]
"""Called as `run(call, **operands)`; returns the results in order."""


def missing_part(model: Model) -> str | None:
    """What a model has that no whole step is composed of yet, or None."""
    parts = {
        f"the {model.family} stack": model.family != "decoder",
        "mixture-of-experts layers": model.mixture is not None,
        "latent attention": model.latent is not None,
        "attention sinks": model.attention_sinks,
        "an attention softcap": model.attention_softcap > 0,
        "a logit softcap": model.logit_softcap > 0,
        f"{model.position} positions": model.position in ("alibi", "relative"),
    }
    return next((part for part, is_there in parts.items() if is_there), None)


@dataclass(frozen=True)
class Composition:
    """The calls of a step by role, and the arrays that stay between steps: weights and caches, by name.

    Names are `embedding.table`, `layers.3.qkv.weight`, `layers.3.keys`, `final_norm.scale`. A tied LM head has no
    weight of its own. Two belong to no call, but stand between two: `layers.3.qkv.bias`, and `layers.3.qk_norm.key_ratio`,
    the keys' norm weights over the queries', which one call norms together.
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

    def places(self) -> Iterator[tuple[str, int | None]]:
        """Role and layer of every call of one token, in order."""
        model = self.step.model
        up = "ffn_gate_up" if model.gated else "ffn_up"
        yield from self._there(None, "embedding", "position")
        for layer in range(model.layers):
            window = "_window" if self.is_windowed(layer) else ""
            yield from self._there(layer, "attention_norm" if layer else "first_norm", "qkv", "qk_norm", "rope")
            yield from self._there(layer, f"cache_update{window}", f"attention{window}", "attention_out")
            yield from self._there(layer, "attention_post_norm", "ffn_norm", up, "activation", "ffn_down", "ffn_post_norm")
        yield from self._there(None, "final_norm", "lm_head", "sampling")

    def left_out(self) -> str | None:
        """The calls that an op lists for the step and that stand nowhere in it, in words, or None."""
        roles = self.needs.keys() - {role for role, _ in self.places()}
        return f"calls of a role that has no place in it: {', '.join(sorted(roles))}" if roles else None

    def kept(self, role: str, layer: int | None) -> dict[str, str]:
        """The operands of a call that stay between steps, with the names of their arrays."""
        if role == "lm_head" and self.shares_table():
            return {"weight": "embedding.table"}
        start = "" if layer is None else f"layers.{layer}."
        roles = {name: tensor.role for name, tensor in self.call(role).operands().items()}
        weights = {name: f"{start}{role}.{name}" for name, kind in roles.items() if kind == "weight"}
        return weights | {name: f"{start}{name}" for name, kind in roles.items() if kind == "kv"}

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
        return {name: tensor for name, tensor in sorted(self.arrays().items()) if tensor.role == "kv"}

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
            The caches by name, then `logits` and the next `token`.
        """
        model, caches = self.step.model, {}
        outside = _Block(self, run, arrays, None)
        (stream,) = outside.run("embedding", index=token)
        if model.position == "learned":
            (stream,) = outside.run("position", index=position, x=stream)
        stream, added = stream.reshape(1, -1), None
        for layer in range(model.layers):
            one = _Block(self, run, arrays, layer)
            if added is None:
                (y,) = one.run("first_norm", x=stream)
            else:
                y, stream = one.run("attention_norm", x=added, residual=stream)
            attended, new = one.attention(y, position)
            caches |= new
            if not model.parallel_block:
                y, stream = one.run("ffn_norm", x=attended, residual=stream)
                added = one.feed_forward(y)
            else:
                if model.parallel_norms > 1:
                    (y,) = one.run("ffn_norm", x=stream)
                added = attended + one.feed_forward(y)
        y, _ = outside.run("final_norm", x=added, residual=stream)
        (logits,) = outside.run("lm_head", x=y.reshape(-1))
        draw = {} if self.step.sampling == "greedy" else {"uniform": uniform}
        (token,) = outside.run("sampling", logits=logits, **draw)
        return dict(sorted(caches.items())) | {"logits": logits, "token": token}

    def _there(self, layer: int | None, *roles: str) -> Iterator[tuple[str, int | None]]:
        return ((role, layer) for role in roles if role in self.needs)

    def _between_calls(self) -> dict[str, Tensor]:
        model, found = self.step.model, {}
        for layer in range(model.layers):
            if model.qkv_bias:
                (n,) = self.call("qkv").results()["y"].shape
                found[f"layers.{layer}.qkv.bias"] = Tensor((n,), self.call("first_norm").operands()["scale"].format, "weight")
            if model.qk_norm:
                # In float32: the ratio of two rounded numbers is not rounded once more.
                found[f"layers.{layer}.qk_norm.key_ratio"] = Tensor((model.head_dim,), "f32", "weight")
        return found


@dataclass(frozen=True)
class _Block:
    """One transformer block of a composition, or with no layer what stands before and after all blocks."""

    whole: Composition
    compute: Run
    arrays: Mapping[str, Any]
    layer: int | None

    def run(self, role: str, **operands: Any) -> tuple[Any, ...]:
        """A call, with its weights and caches."""
        kept = {name: self.arrays[array] for name, array in self.whole.kept(role, self.layer).items()}
        return self.compute(self.whole.call(role), **kept | operands)

    def attention(self, x: Any, position: Any) -> tuple[Any, dict[str, Any]]:
        """What attention adds to the stream, and the layer's caches with the new token."""
        model = self.whole.step.model
        (y,) = self.run("qkv", x=x.reshape(-1))
        if model.qkv_bias:
            y = y + self.arrays[f"layers.{self.layer}.qkv.bias"].astype(y.dtype)
        heads = y.reshape(-1, model.head_dim)
        turned, new_values = heads[: -model.kv_heads], heads[-model.kv_heads :]
        if model.qk_norm:
            (turned,) = self.run("qk_norm", x=turned)
            ratio = self.arrays[f"layers.{self.layer}.qk_norm.key_ratio"].astype(turned.dtype)
            turned = turned.__array_namespace__().concat([turned[: model.heads], turned[model.heads :] * ratio])
        if model.position == "rope":
            (turned,) = self.run("rope", x=turned, position=position)
        query, new_keys = turned[: model.heads], turned[model.heads :]
        window = "_window" if self.layer is not None and self.whole.is_windowed(self.layer) else ""
        cache = f"cache_update{window}"
        rows = self.whole.call(cache).results()["keys"].shape[1]
        keys, values = self.run(
            cache, new_keys=new_keys, new_values=new_values, position=position % rows if window else position
        )
        (out,) = self.run(f"attention{window}", query=query, keys=keys, values=values)
        (added,) = self.run("attention_out", x=out.reshape(-1))
        names = self.whole.kept(cache, self.layer)
        return self._post_normed("attention_post_norm", added), {names["keys"]: keys, names["values"]: values}

    def feed_forward(self, x: Any) -> Any:
        """What the feed-forward adds to the stream."""
        up = "ffn_gate_up" if self.whole.step.model.gated else "ffn_up"
        (wide,) = self.run(up, x=x.reshape(-1))
        (active,) = self.run("activation", x=wide)
        (added,) = self.run("ffn_down", x=active)
        return self._post_normed("ffn_post_norm", added)

    def _post_normed(self, role: str, added: Any) -> Any:
        row = added.reshape(1, -1)
        return self.run(role, x=row)[0] if self.whole.step.model.post_norm else row
