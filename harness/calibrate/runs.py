"""Many decode runs as columns: the one place where what a run reads, holds and at the least takes is worked out.

A single `Situation` is the column of length 1, so that a question asked alone and the same question in a grid of a hundred
thousand cannot differ.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from ...kernels.model import Model
from ..facts.envelope import Envelope
from .engine import Engine
from .routing import busiest
from .traffic import Traffic, kv_elements, traffic

if TYPE_CHECKING:
    from .situation import Situation

MXFP4_BITS = 4.25
NVFP4_BITS = 4.5
Q8_0_BITS = 8.5
PLAIN_BITS = 16.0

T = TypeVar("T")


@dataclass(frozen=True)
class Runs:
    """Situations, field by field; what `Situation` says of a field holds here of each element.

    Attributes:
        devices, engines, models: those that occur.
        device, engine, model: which of them, of each run.
        experts_only: whether only a mixture's experts are narrow.
    """

    devices: tuple[Envelope, ...]
    engines: tuple[Engine, ...]
    models: tuple[Model, ...]
    device: Int[np.ndarray, "runs"]
    engine: Int[np.ndarray, "runs"]
    model: Int[np.ndarray, "runs"]
    chips: Int[np.ndarray, "runs"]
    weight_bits: Float[np.ndarray, "runs"]
    kv_bits: Float[np.ndarray, "runs"]
    prompt: Float[np.ndarray, "runs"]
    generated: Float[np.ndarray, "runs"]
    counts_prefill: Bool[np.ndarray, "runs"]
    size: Float[np.ndarray, "runs"]
    pipeline: Bool[np.ndarray, "runs"]
    expert_parallel: Bool[np.ndarray, "runs"]
    is_guessed: Bool[np.ndarray, "runs"]
    experts_only: Bool[np.ndarray, "runs"]

    @classmethod
    def of(cls, runs: Sequence[Situation]) -> Runs:
        """The columns of some situations."""
        devices, device = _numbered([run.device for run in runs], id)
        engines, engine = _numbered([run.engine for run in runs], lambda engine: engine)
        models, model = _numbered([run.model for run in runs], id)

        def column(name: str, kind: type) -> np.ndarray:
            return np.array([getattr(run, name) for run in runs], dtype=kind)

        floats = {name: column(name, float) for name in ("weight_bits", "kv_bits", "prompt", "generated", "size")}
        flags = {name: column(name, bool) for name in ("counts_prefill", "pipeline", "expert_parallel", "is_guessed")}
        # Checkpoints in the 4-bit floating-point formats narrow a mixture's experts only (gpt-oss, DeepSeek-R1 in NVFP4).
        told = np.isin(floats["weight_bits"], (MXFP4_BITS, NVFP4_BITS))
        said = np.array([run.experts_only is True for run in runs], dtype=bool)
        is_open = np.array([run.experts_only is None for run in runs], dtype=bool)
        only = np.where(is_open, told, said)
        return cls(
            devices, engines, models, device, engine, model, column("chips", np.int64), **floats, **flags, experts_only=only
        )

    def __len__(self) -> int:
        return len(self.device)

    def rows(self, chosen: np.ndarray) -> Runs:
        """Some of the runs."""
        columns = [one.name for one in fields(self) if one.name not in ("devices", "engines", "models")]
        return replace(self, **{name: getattr(self, name)[chosen] for name in columns})

    def on(
        self, chips: Int[np.ndarray, "runs"], pipeline: Bool[np.ndarray, "runs"], expert_parallel: Bool[np.ndarray, "runs"]
    ) -> Runs:
        """The same on so many chips, of which one alone is neither a pipeline nor expert parallel."""
        several = chips > 1
        return replace(self, chips=chips, pipeline=pipeline & several, expert_parallel=expert_parallel & several)

    def opening(self, prompt: Float[np.ndarray, "runs"]) -> Runs:
        """The runs up to their first tokens, the prefill of the prompts included."""
        ones = np.ones(len(self))
        return replace(self, prompt=prompt, generated=ones, counts_prefill=ones.astype(bool))

    def by_device(self, of: Callable[[Envelope], Any]) -> np.ndarray:
        """A machine's figure, of each run."""
        return np.array([of(device) for device in self.devices])[self.device]

    def by_engine(self, of: Callable[[Engine], Any]) -> np.ndarray:
        """An engine's, of each run."""
        return np.array([of(engine) for engine in self.engines])[self.engine]

    def by_model(self, of: Callable[[Model], Any]) -> np.ndarray:
        """A model's, of each run."""
        return np.array([of(model) for model in self.models])[self.model]

    @cached_property
    def layers(self) -> Int[np.ndarray, "runs"]:
        return self.by_model(lambda model: model.layers)

    @cached_property
    def bandwidth_gbs(self) -> Float[np.ndarray, "runs"]:
        """Peak, of one chip's main memory."""
        return self.by_device(lambda device: device.main.bandwidth_gbs.value)

    @cached_property
    def body_bits(self) -> Float[np.ndarray, "runs"]:
        """Bits of what is neither expert nor LM head."""
        mixed = self.by_model(lambda model: model.mixture is not None) & self.experts_only
        gguf = np.where(self.weight_bits == MXFP4_BITS, Q8_0_BITS, self.weight_bits)
        rest = np.where(self.by_engine(lambda engine: engine.gguf), gguf, PLAIN_BITS)
        return np.where(mixed, rest, self.weight_bits)

    @cached_property
    def head_bits(self) -> Float[np.ndarray, "runs"]:
        """Bits of the LM head, which most engines leave at 16."""
        narrow = self.by_engine(lambda engine: engine.narrow_head)
        return np.where(narrow, self.body_bits, np.maximum(self.body_bits, PLAIN_BITS))

    @cached_property
    def expert_bytes(self) -> Float[np.ndarray, "runs"]:
        return self.size * self._read(lambda read: read.experts) * self.weight_bits / 8

    @cached_property
    def weight_bytes(self) -> Float[np.ndarray, "runs"]:
        """Weights that a token reads."""
        return self._read_bytes(self.head_bits)

    @cached_property
    def chip_bytes(self) -> Float[np.ndarray, "runs"]:
        """Weights that a token waits for on the busiest chip, all those of the token's own chip included.

        Expert parallel, the rest lies whole on every chip, and the token's chip reads it alone.
        """
        return (self.weight_bytes - self.expert_bytes) / self.rest_streams + self.expert_bytes * self.expert_share

    @cached_property
    def expert_share(self) -> Float[np.ndarray, "runs"]:
        """Of a token's experts, what the busiest chip reads, on average over tokens."""
        share = 1 / self.streams
        rows = np.flatnonzero(self.expert_parallel)
        for model, chips in set(zip(self.model[rows].tolist(), self.chips[rows].tolist(), strict=True)):
            mixture = self.models[model].mixture
            if mixture is not None:
                same = rows[(self.model[rows] == model) & (self.chips[rows] == chips)]
                share[same] = busiest(mixture, chips) / mixture.top_k
        return share

    @cached_property
    def least_bytes(self) -> Float[np.ndarray, "runs"]:
        """Weights that a token reads where the LM head is as narrow as the rest, whatever the engine does with it."""
        return self._read_bytes(self.body_bits)

    @cached_property
    def resident_gb(self) -> Float[np.ndarray, "runs"]:
        """Memory that the weights take; an engine that leaves the LM head at 16 bits leaves the input embedding, too."""
        experts = self._read(lambda read: read.resident_experts) * self.weight_bits
        body = self._read(lambda read: read.resident_body) * self.body_bits
        vocabulary = self._read(lambda read: read.resident_vocabulary) * self.head_bits
        return self.size * (experts + body + vocabulary) / 8e9

    @cached_property
    def resident_experts_gb(self) -> Float[np.ndarray, "runs"]:
        """Of that, a mixture's routed experts."""
        return self.size * self._read(lambda read: read.resident_experts) * self.weight_bits / 8e9

    @cached_property
    def kv_bytes(self) -> Float[np.ndarray, "runs"]:
        """KV cache that a token reads, on average over the generated ones."""
        return self._kv_elements(self.prompt + self.generated / 2) * self.kv_bits / 8

    @cached_property
    def kv_gb(self) -> Float[np.ndarray, "runs"]:
        """Memory that the KV cache takes when the last token is generated."""
        return self._kv_elements(self.prompt + self.generated) * self.kv_bits / 8e9

    @cached_property
    def streams(self) -> Int[np.ndarray, "runs"]:
        """Chips that read their share of the weights at the same time."""
        return np.where(self.pipeline, 1, self.chips)

    @cached_property
    def kv_streams(self) -> Int[np.ndarray, "runs"]:
        """Chips that split the KV cache: heads are whole, and the latent cache of MLA has one."""
        heads = self.by_model(lambda model: 1 if model.latent is not None else model.kv_heads)
        return np.minimum(self.rest_streams, heads)

    @cached_property
    def rest_streams(self) -> Int[np.ndarray, "runs"]:
        """Chips that split what is no routed expert: where experts are whole, the rest is replicated."""
        return np.where(self.expert_parallel, 1, self.streams)

    @cached_property
    def floor_us(self) -> Float[np.ndarray, "runs"]:
        """Time per token that no engine beats: weights and KV cache over the peak bandwidth of all chips that read them.

        Expert parallel, of the token's own chip and, for the chosen experts, of no more chips than they are.
        """
        chosen = self.by_model(lambda model: model.mixture.top_k if model.mixture else 1)
        readers = np.where(self.expert_parallel, np.minimum(self.streams, chosen), self.streams)
        rest = self.least_bytes - self.expert_bytes + self.kv_bytes
        return (rest / self.rest_streams + self.expert_bytes / readers) / self.bandwidth_gbs / 1e3

    @cached_property
    def prefill_floor_us(self) -> Float[np.ndarray, "runs"]:
        """Arithmetic of the prompt at the chips' dense peak, per generated token; 0 where no peak is known.

        2 FLOPs per body weight and token, and 2 n^2 d per layer for causal attention (scores and values, half masked).
        """
        experts = self.size * self._read(lambda read: read.experts)
        body = self.size * self._read(lambda read: read.body)
        attention = self.prompt**2 * self.by_model(lambda model: model.d_model) * self.layers
        # The prompt of one request stays on its chip, but for the experts.
        rest_chips = np.where(self.expert_parallel, 1, self.chips)
        flops = 2 * ((body * self.prompt + attention) / rest_chips + experts * self.prompt / self.chips)
        peak = self.by_device(lambda device: device.peak_flops("f16"))
        # Of a single step no token is generated beside it: what is not counted is not divided either.
        return np.where(self.counts_prefill, flops / peak * 1e6 / np.where(self.counts_prefill, self.generated, 1.0), 0.0)

    def _read_bytes(self, head_bits: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
        experts = self._read(lambda read: read.experts) * self.weight_bits
        body = self._read(lambda read: read.body) * self.body_bits
        return self.size * (experts + body + self._read(lambda read: read.head) * head_bits) / 8

    def _read(self, of: Callable[[Traffic], int]) -> Float[np.ndarray, "runs"]:
        return self.by_model(lambda model: float(of(traffic(model))))

    def _kv_elements(self, tokens: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
        context = np.maximum(1, np.round(tokens)).astype(np.int64)
        pairs, place = np.unique(self.model * (context.max(initial=0) + 1) + context, return_inverse=True)
        models, contexts = np.divmod(pairs, context.max(initial=0) + 1)
        return np.array([kv_elements(self.models[m], int(c)) for m, c in zip(models, contexts, strict=True)])[place]


def _numbered(things: Sequence[T], key: Callable[[T], Hashable]) -> tuple[tuple[T, ...], Int[np.ndarray, "runs"]]:
    """The distinct ones in order of appearance, and which of them each is."""
    distinct = {key(thing): thing for thing in things}
    places = {one: place for place, one in enumerate(distinct)}
    return tuple(distinct.values()), np.array([places[key(thing)] for thing in things], dtype=np.int64)
