"""y[d] = f(x[d]), or f(x[:d]) * x[d:] of each row where the feed-forward is gated."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import activate


@dataclass(frozen=True, kw_only=True)
class Activation(Workload):
    """SwiGLU and GeGLU (`gated`: x holds gate and up, 2d wide), or plain SiLU, GELU, ReLU.

    Several `rows`, one for each expert of a mixture, are the first axis; one row has no such axis.
    """

    op: ClassVar[str] = "activation"
    function: Literal["silu", "gelu", "relu"]
    gated: bool
    d: int
    rows: int = 1
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        rows = f"{self.rows}x" if self.rows > 1 else ""
        return f"{self.function}{' gated' if self.gated else ''} {rows}{self.d}"

    def operands(self) -> dict[str, Tensor]:
        return {"x": self._vectors((1 + self.gated) * self.d)}

    def results(self) -> dict[str, Tensor]:
        return {"y": self._vectors(self.d)}

    def flops(self) -> float:
        # An exponential, an add, a divide and a multiply for SiLU; about as many for GELU.
        return ({"silu": 4, "gelu": 5, "relu": 1}[self.function] + self.gated) * self.rows * self.d

    def reference(self, *, x: Any) -> tuple[Any, ...]:
        return (activate(self.function, self.gated, x),)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model = step.model
        common = {"function": model.activation, "gated": model.gated, "activation_format": step.formats.activation}
        dense = model.layers - model.mixture_layers
        if dense and not step.fuses_gates:
            yield Need("activation", cls(d=model.d_ff, **common), dense)
        if model.mixture is not None:
            mixture, layers = model.mixture, model.mixture_layers
            if mixture.shared_experts and not step.fuses_gates:
                shared = cls(d=mixture.shared_experts * mixture.d_ff_expert, **common)
                yield Need("shared_expert_activation", shared, layers)
            yield Need("expert_activation", cls(d=mixture.d_ff_expert, rows=mixture.top_k, **common), layers)

    @classmethod
    def examples(cls) -> Iterable[Activation]:
        for function in ("silu", "gelu", "relu"):
            for gated in (True, False):
                for d in (1, 13, 8192):
                    yield cls(function=function, gated=gated, d=d)
                yield cls(function=function, gated=gated, d=65, rows=3)

    def _vectors(self, width: int) -> Tensor:
        shape = (self.rows, width) if self.rows > 1 else (width,)
        return Tensor(shape, self.activation_format, "activation")
