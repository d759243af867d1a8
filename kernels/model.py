"""A transformer's shape, and one decode step of it: the question that every op answers with its calls."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from .formats import format_named, format_names


@dataclass(frozen=True)
class Mixture:
    """Mixture-of-experts feed-forward layers.

    Attributes:
        experts: routed experts per layer.
        top_k: routed experts that a token uses.
        d_ff_expert: width of one expert.
        shared_experts: experts that every token uses, each `d_ff_expert` wide.
        first_dense_layers: layers at the bottom with a dense feed-forward of width `d_ff`.
        layer_step: every `layer_step`-th layer is a mixture, the others are dense.
        scores: how the router's logits become scores of the experts.
        renormalised: weights of the chosen experts are divided by their sum. With `softmax` this is the softmax over the
            chosen alone.
        selection_bias: a learned bias is added to the scores when experts are chosen, but not when they are weighed.
        groups, top_groups: experts stand in `groups` equal groups, and only those of the best `top_groups` can be chosen.
        scale: the weights of the chosen experts are multiplied by it.

    """

    experts: int
    top_k: int
    d_ff_expert: int
    shared_experts: int = 0
    first_dense_layers: int = 0
    layer_step: int = 1
    scores: Literal["softmax", "sigmoid"] = "softmax"
    renormalised: bool = True
    selection_bias: bool = False
    groups: int = 1
    top_groups: int = 1
    scale: float = 1.0


@dataclass(frozen=True)
class Latent:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434): widths of the low-rank projections.

    `q_lora` is 0 where queries are projected in one step (DeepSeek-V2-Lite). The model's `head_dim` is
    `qk_nope + qk_rope`.
    """

    q_lora: int
    kv_lora: int
    qk_nope: int
    qk_rope: int
    v: int


@dataclass(frozen=True)
class Window:
    """Sliding-window attention: `local` layers see the last `size` tokens, then `full` layers see all."""

    size: int
    local: int = 1
    full: int = 0


@dataclass(frozen=True)
class Model:
    """The shape of a transformer, in the terms of its published configuration.

    Attributes:
        name: the name it is known by.
        family: `decoder`, `encoder` (no decode step) or `encoder-decoder` (the step is the decoder's).
        layers: transformer blocks; per stack for `encoder-decoder`.
        d_model, heads, kv_heads, head_dim, d_ff, vocab: the usual widths. `d_ff` is 0 where every layer is a mixture.
        max_context: longest context the model was made for.
        gated: the feed-forward has a gate matrix (SwiGLU, GeGLU).
        activation: the feed-forward's non-linearity.
        norm: `rmsnorm` or `layernorm`.
        position: `rope`, `learned`, `alibi`, `relative` or `none`.
        tied: the LM head is the embedding table.
        parallel_block: attention and feed-forward read the same input and share one residual add.
        parallel_norms: norms of a parallel block's input; 2 where attention and feed-forward have one each (Falcon 40B).
        qk_norm: queries and keys are normed per head.
        post_norm: what attention and feed-forward give is normed too, before it is added (Gemma 2).
        qkv_bias: the projections to queries, keys and values add a bias. Biases are not counted as weights.
        scale_dim: attention scores are divided by its square root; 0 for that of `head_dim`. Models say otherwise: T5 does
            not divide, which is 1, and Jais divides by the width itself, which is its square.
        attention_sinks: each head has one more learned score in its softmax (gpt-oss).
        attention_softcap: scores are squashed to +-this by tanh; 0 for none (Gemma 2).
        logit_softcap: the LM head's logits likewise.

    """

    name: str
    family: Literal["decoder", "encoder", "encoder-decoder"]
    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    vocab: int
    max_context: int
    gated: bool = True
    activation: Literal["silu", "gelu", "relu"] = "silu"
    norm: Literal["rmsnorm", "layernorm"] = "rmsnorm"
    position: Literal["rope", "learned", "alibi", "relative", "none"] = "rope"
    tied: bool = False
    parallel_block: bool = False
    parallel_norms: int = 1
    qk_norm: bool = False
    post_norm: bool = False
    qkv_bias: bool = False
    scale_dim: int = 0
    attention_sinks: bool = False
    attention_softcap: float = 0.0
    logit_softcap: float = 0.0
    mixture: Mixture | None = None
    latent: Latent | None = None
    window: Window | None = None

    @property
    def mixture_layers(self) -> int:
        """Layers whose feed-forward is a mixture."""
        if self.mixture is None:
            return 0
        return max(0, self.layers - self.mixture.first_dense_layers) // self.mixture.layer_step

    @property
    def windowed_layers(self) -> int:
        """Layers that attend to a sliding window only."""
        if self.window is None:
            return 0
        period = self.window.local + self.window.full
        whole, rest = divmod(self.layers, period)
        return whole * self.window.local + min(rest, self.window.local)


@dataclass(frozen=True)
class Formats:
    """Number formats of a step, by what they hold. Names in `kernels.formats`.

    Attributes:
        weight: matrices that stream from memory every token.
        kv: the KV cache.
        activation: vectors between kernels; they stay in cache, so 32 bits cost no memory traffic.

    Raises:
        KeyError: if a format does not exist or cannot hold its role.

    """

    weight: str = "bf16"
    kv: str = "bf16"
    activation: str = "f32"

    def __post_init__(self) -> None:
        for role in ("weight", "kv", "activation"):
            name = getattr(self, role)
            if role not in format_named(name).roles:
                raise KeyError(f"format.{role} must be one of {', '.join(format_names(role))}; got {name!r}")

    @property
    def unquantised(self) -> str:
        """The format of weights that no engine quantises: norms and routers."""
        return self.weight if self.weight in format_names("activation") else "bf16"


@dataclass(frozen=True)
class Step:
    """One decode step: the next token of `model` when `context` tokens, the new one included, are attended to.

    Attributes:
        sampling: how the next token is drawn from the logits.
        fused: gates, norms and residual adds are part of the projections beside them, as engines have it.

    """

    model: Model
    context: int
    formats: Formats = field(default_factory=Formats)
    sampling: Literal["greedy", "top_k", "top_p"] = "greedy"
    fused: bool = False

    @property
    def fuses_gates(self) -> bool:
        """Whether gate and up projections end in their gate. Those of a mixture's chosen experts do not."""
        return self.fused and self.model.gated

    @property
    def fuses_norms(self) -> bool:
        """Whether projections begin with the norm of their vector, and those back to the stream end in the residual add.

        Not where several calls share what one norm gives, where what is added is normed first, or where norms stand
        after the layers (encoders).
        """
        model = self.model
        shares = model.latent is not None or model.mixture is not None or (model.parallel_block and model.parallel_norms == 1)
        return self.fused and not shares and not model.post_norm and model.family != "encoder"
