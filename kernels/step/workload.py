"""caches, logits, token = step(weights, caches, token, position): one token through a whole model."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ..formats import format_named
from ..model import Formats, Model, Step, Window
from ..op import Cost, Need, Tensor
from .compose import missing_part
from .reference import decode
from .whole import Whole


@dataclass(frozen=True, kw_only=True)
class DecodeStep(Whole):
    """One decode step of `model` at `context`. Its calls, shapes and formats are those that the ops list for the step.

    Raises:
        ValueError: if the model has a part that no step is composed of.
    """

    op: ClassVar[str] = "step"
    what: ClassVar[str] = "a whole step"
    kv_format: str = "bf16"
    activation_format: str = "f32"
    sampling: Literal["greedy", "top_k", "top_p"] = "greedy"
    fused: bool = False

    @property
    def step(self) -> Step:
        formats = Formats(self.weight_format, self.kv_format, self.activation_format)
        return Step(self.model, self.context, formats, self.sampling, self.fused)

    @staticmethod
    def missing_part(model: Model) -> str | None:
        return missing_part(model)

    # The caches are as many as the model has layers.
    @property
    def donated(self) -> tuple[str, ...]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """All caches."""
        return tuple(self.composition.caches())

    @property
    def products(self) -> int:
        """The calls that multiply by a matrix or attend."""
        return sum(need.count for need in self._needs if need.workload.op in ("gemv", "attention"))

    @property
    def label(self) -> str:
        return f"step {self.model.name} {self.model.layers} layers {self.weight_format}{' fused' if self.fused else ''}"

    def operands(self) -> dict[str, Tensor]:
        token = {"token": Tensor((), "i32", "index", below=self.model.vocab)}
        # A position is learned, or has been cached.
        places = min(self.context, self.model.max_context) if self.model.position == "learned" else self.context
        position = {"position": Tensor((), "i32", "index", below=places)}
        uniform = {} if self.sampling == "greedy" else {"uniform": Tensor((), "f32", "activation", below=1)}
        return self.composition.arrays() | token | position | uniform

    def results(self) -> dict[str, Tensor]:
        logits = self.composition.call("sampling").operands()["logits"]
        token = self.composition.call("sampling").results()["token"]
        return self.composition.caches() | self.composition.choices() | {"logits": logits, "token": token}

    def flops(self) -> float:
        return sum(need.count * need.workload.flops() for need in self._needs)

    def cost(self) -> Cost:
        """The sum of the calls. What they hand to each other counts as `activations`; biases are not counted."""
        reads, writes = dict.fromkeys(self.operands(), 0.0), dict.fromkeys(self.results(), 0.0)
        reads["activations"] = writes["activations"] = 0.0
        for role, layer in self.composition.places():
            names, cost = self.composition.kept(role, layer), self.composition.call(role).cost()
            for total, part in ((reads, cost.reads), (writes, cost.writes)):
                for name, size in part.items():
                    total[names.get(name, "activations")] += size
        streamed = frozenset(name for name, tensor in self.operands().items() if tensor.role in ("weight", "kv"))
        return Cost(self.flops(), reads, writes, streamed)

    def tolerance(self) -> float:
        """The calls' errors are independent and add up as squares, but for the rounding of the new keys and values: both
        sides do it, and it may tip a few to the next number. No position is beyond the context.
        """
        calls = [(need.count, need.workload) for need in self._needs if need.workload.op != "cache"]
        near = [(n, replace(one, max_context=self.context) if one.op == "rope" else one) for n, one in calls]
        total = math.sqrt(sum(count * one.tolerance() ** 2 for count, one in near))
        # Scores that are not scaled down to order 1 (T5) carry errors of queries and keys into exponentials that much larger.
        total *= max(1.0, math.sqrt(self.model.head_dim / (self.model.scale_dim or self.model.head_dim)))
        # A mixture hands its input's errors on twice: by its experts, and by the weights that its router gives them.
        total *= 2 if self.model.mixture else 1
        return max(total, format_named(self.kv_format).epsilon)

    def expected(self, packed: Mapping[str, Any]) -> tuple[Any, ...]:
        return self._decoded(packed, ())

    def expected_beside(self, packed: Mapping[str, Any], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """With the experts that were chosen, where the logits of a router are nearer to each other than the tolerance."""
        found = dict(zip(self.results(), outputs, strict=True))
        return self._decoded(packed, [found[name] for name in self.composition.choices()])

    @classmethod
    def examples(cls) -> Iterable[DecodeStep]:
        for model in _small_models():
            for context, kv in ((1, "f32"), (40, "bf16")):
                yield cls(model=model, context=context, weight_format=kv, kv_format=kv)
            yield cls(model=model, context=40, weight_format="f32", kv_format="f32", fused=True)

    def _decoded(self, packed: Mapping[str, Any], chosen: Sequence[Any]) -> tuple[Any, ...]:
        inputs = {name: packed[name] for name in ("token", "position", "uniform") if name in packed}
        return tuple(decode(self.composition, packed, self.tolerance(), chosen, **inputs).values())

    @property
    def _needs(self) -> tuple[Need, ...]:
        return tuple(self.composition.needs.values())


def _small_models() -> Iterable[Model]:
    """One model for each way in which layers are put together."""
    shape: dict[str, Any] = {"family": "decoder", "heads": 4, "kv_heads": 2, "head_dim": 16, "vocab": 101, "max_context": 64}
    old: dict[str, Any] = {"gated": False, "activation": "gelu", "norm": "layernorm"}
    wide: dict[str, Any] = shape | {"d_model": 48, "d_ff": 80}
    yield Model(name="small-llama", layers=2, tied=True, **wide)
    yield Model(name="small-qwen", layers=1, qkv_bias=True, qk_norm=True, **wide)
    yield Model(name="small-gpt2", layers=2, position="learned", tied=True, qkv_bias=True, **{**wide, "kv_heads": 4}, **old)
    yield Model(name="small-falcon", layers=2, parallel_block=True, parallel_norms=2, **wide, **old)
    window = Window(size=8, local=2, full=1)
    yield Model(name="small-gemma", layers=4, activation="gelu", post_norm=True, qk_norm=True, window=window, **wide)
