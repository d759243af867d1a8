"""One transformer block of a step: what attention, cross-attention and the feed-forward add to the stream."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compose import Composition, Run


@dataclass(frozen=True)
class Block:
    """One block of a composition, or with no layer what stands before and after all blocks."""

    whole: Composition
    compute: Run
    arrays: Mapping[str, Any]
    layer: int | None

    def run(self, role: str, **operands: Any) -> tuple[Any, ...]:
        """A call, with its weights and caches. What another call gave takes the shape that this one asks for."""
        call = self.whole.call(role)
        kept = {name: self.arrays[array] for name, array in self.whole.kept(role, self.layer).items()}
        shapes = {name: tensor.shape for name, tensor in call.operands().items() if tensor.role == "activation"}
        given = {name: value.reshape(shapes[name]) if shapes.get(name) else value for name, value in operands.items()}
        return self.compute(call, **kept | given)

    def normed(self, role: str, stream: Any, added: Any | None) -> tuple[Any, Any]:
        """What the next projection reads, and the stream with what was added to it.

        Where norms and residual adds are parts of the projections, what was added is the new stream already, and the
        next projection norms it.
        """
        if self.whole.step.fuses_norms:
            return (stream, stream) if added is None else (added, added)
        if added is None:
            return self.run(role, x=stream)[0], stream
        y, stream = self.run(role, x=added, residual=stream)
        return y, stream

    def attention(self, x: Any, position: Any, stream: Any) -> tuple[Any, dict[str, Any]]:
        """What attention adds to the stream (see `normed`), and the layer's caches with the new token."""
        is_latent = self.whole.step.model.latent is not None
        query, new = self._latent_projections(x, position) if is_latent else self._projections(x, position)
        window = "_window" if self.layer is not None and self.whole.is_windowed(self.layer) else ""
        cache = f"cache_update{window}"
        rows = self.whole.call(cache).results()["keys"].shape[1]
        cached = self.run(cache, **new, position=position % rows if window else position)
        held = dict(zip(self.whole.call(cache).results(), cached, strict=True))
        (out,) = self.run(f"attention{window}", query=self._absorbed(query) if is_latent else query, **held)
        if is_latent:
            (out,) = self.run("value_up", x=out)
        added = self._back("attention_out", out, stream)
        names = self.whole.kept(cache, self.layer)
        return self._post_normed("attention_post_norm", added), {names[name]: value for name, value in held.items()}

    def cross_attention(self, x: Any, stream: Any) -> Any:
        """What attention to the encoder's tokens adds to the stream. Their keys and values were made before the first step."""
        (query,) = self.run("cross_query", x=x)
        (out,) = self.run("attention_cross", query=query)
        return self._back("cross_out", out, stream).reshape(1, -1)

    def feed_forward(self, x: Any, stream: Any) -> tuple[Any, dict[str, Any]]:
        """What the feed-forward adds to the stream, and the experts that a mixture chose."""
        is_mixture = self.layer is not None and self.whole.is_mixture(self.layer)
        added, chosen = self._mixture(x) if is_mixture else (self._dense("", x, stream), {})
        return self._post_normed("ffn_post_norm", added), chosen

    def _projections(self, x: Any, position: Any) -> tuple[Any, dict[str, Any]]:
        """Queries [heads, head_dim], and the new keys and values [kv_heads, head_dim]."""
        model = self.whole.step.model
        (y,) = self.run("qkv", x=x)
        if model.qkv_bias:
            y = y + self.arrays[f"layers.{self.layer}.qkv.bias"].astype(y.dtype)
        heads = y.reshape(-1, model.head_dim)
        turned, new_values = heads[: -model.kv_heads], heads[-model.kv_heads :]
        if model.qk_norm:
            (turned,) = self.run("qk_norm", x=turned)
            ratio = self.arrays[f"layers.{self.layer}.qk_norm.key_ratio"].astype(turned.dtype)
            turned = _joined(turned[: model.heads], turned[model.heads :] * ratio)
        if model.position == "rope":
            (turned,) = self.run("rope", x=turned, position=position)
        return turned[: model.heads], {"new_keys": turned[model.heads :], "new_values": new_values}

    def _latent_projections(self, x: Any, position: Any) -> tuple[Any, dict[str, Any]]:
        """Queries [heads, qk_nope + qk_rope] as they were before absorption, and the one new row [1, kv_lora + qk_rope]."""
        model, latent = self.whole.step.model, self.whole.latent
        if latent.q_lora:
            (low,) = self.run("query_down", x=x)
            (low,) = self.run("query_latent_norm", x=low)
            (query,) = self.run("query_up", x=low)
        else:
            (query,) = self.run("query", x=x)
        (row,) = self.run("kv_down", x=x)
        (cached,) = self.run("kv_latent_norm", x=row[: latent.kv_lora])
        query, turned_key = query.reshape(model.heads, -1), row[latent.kv_lora :].reshape(1, -1)
        if model.position == "rope":
            (turned,) = self.run("rope", x=_joined(query[:, latent.qk_nope :], turned_key), position=position)
            query, turned_key = _joined(query[:, : latent.qk_nope], turned[:-1], axis=-1), turned[-1:]
        return query, {"new_keys": _joined(cached, turned_key, axis=-1)}

    def _absorbed(self, query: Any) -> Any:
        """Queries in the space of what is cached: [heads, kv_lora + qk_rope]."""
        nope = self.whole.latent.qk_nope
        (taken_up,) = self.run("key_up", x=query[:, :nope])
        return _joined(taken_up, query[:, nope:], axis=-1)

    def _dense(self, which: str, x: Any, stream: Any = None) -> Any:
        (active,) = self.run(f"{which}{self._up}", x=x)
        if not self.whole.step.fuses_gates:
            (active,) = self.run(f"{which}activation", x=active)
        return self._back(f"{which}ffn_down", active, stream)

    def _back(self, role: str, x: Any, stream: Any) -> Any:
        """What a projection back to the stream gives: what is to be added, or the sum where the add is a part of it."""
        return self.run(role, x=x, **({"residual": stream} if self.whole.step.fuses_norms else {}))[0]

    def _mixture(self, x: Any) -> tuple[Any, dict[str, Any]]:
        """What experts give is weighed and added up. Llama 4 weighs what an expert reads instead, which costs the same."""
        (logits,) = self.run("router", x=x)
        chosen, weights = self.run("routing", logits=logits)
        (wide,) = self.run(f"expert_{self._up}", chosen=chosen, x=x)
        (active,) = self.run("expert_activation", x=wide)
        (added,) = self.run("expert_ffn_down", chosen=chosen, x=active, factors=weights)
        if "shared_expert_ffn_down" in self.whole.needs:
            added = added + self._dense("shared_expert_", x)
        return added, {f"layers.{self.layer}.chosen": chosen}

    @property
    def _up(self) -> str:
        return "ffn_gate_up" if self.whole.step.model.gated else "ffn_up"

    def _post_normed(self, role: str, added: Any) -> Any:
        row = added.reshape(1, -1)
        return self.run(role, x=row)[0] if self.whole.step.model.post_norm else row


def _joined(*parts: Any, axis: int = 0) -> Any:
    return parts[0].__array_namespace__().concat(parts, axis=axis)
