"""y[d] = f(x[d]), or f(x[:d]) * x[d:] where the feed-forward is gated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import activate


@dataclass(frozen=True, kw_only=True)
class Activation(Workload):
    """SwiGLU and GeGLU (`gated`: x holds gate and up, 2d wide), or plain SiLU, GELU, ReLU."""

    op: ClassVar[str] = "activation"
    function: Literal["silu", "gelu", "relu"]
    gated: bool
    d: int
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"{self.function}{' gated' if self.gated else ''} {self.d}"

    def operands(self) -> dict[str, Tensor]:
        return {"x": Tensor(((1 + self.gated) * self.d,), self.activation_format, "activation")}

    def results(self) -> dict[str, Tensor]:
        return {"y": Tensor((self.d,), self.activation_format, "activation")}

    def flops(self) -> float:
        # An exponential, an add, a divide and a multiply for SiLU; about as many for GELU.
        return ({"silu": 4, "gelu": 5, "relu": 1}[self.function] + self.gated) * self.d

    def reference(self, *, x: Any) -> tuple[Any, ...]:
        return (activate(self.function, self.gated, x),)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        common = {"function": model.activation, "gated": model.gated, "activation_format": step.formats.activation}
        dense = model.layers - model.mixture_layers
        if dense:
            yield Need("activation", cls(d=model.d_ff, **common), dense)
        if model.mixture is not None:
            used = model.mixture.top_k + model.mixture.shared_experts
            yield Need("expert_activation", cls(d=model.mixture.d_ff_expert, **common), model.mixture_layers * used)

    @classmethod
    def examples(cls) -> Iterable[Activation]:
        for function in ("silu", "gelu", "relu"):
            for gated in (True, False):
                for d in (1, 13, 8192):
                    yield cls(function=function, gated=gated, d=d)
