"""token = sample(logits[vocab], uniform): greedy, top-k or top-p."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..model import Step
from ..op import Need, Tensor, Workload
from . import reference

_TIES = (-1e-5, 0.0, 1e-5)
"""Shifts of a probability within which two tokens count as tied: the rounding of a float32 sum over a vocabulary."""


@dataclass(frozen=True, kw_only=True)
class Sampling(Workload):
    """One token out of `vocab`. `uniform` in [0, 1) decides the draw, so that a reference can repeat it."""

    op: ClassVar[str] = "sampling"
    method: Literal["greedy", "top_k", "top_p"]
    vocab: int
    k: int = 40
    p: float = 0.95
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"{self.method} {self.vocab}"

    def operands(self) -> dict[str, Tensor]:
        logits = {"logits": Tensor((self.vocab,), self.activation_format, "activation")}
        return logits | ({} if self.method == "greedy" else {"uniform": Tensor((), "f32", "activation", below=1)})

    def results(self) -> dict[str, Tensor]:
        return {"token": Tensor((), "i32", "index", below=self.vocab)}

    def flops(self) -> float:
        # One compare per logit, and for a draw an exponential, two adds and a divide over the softmax.
        return self.vocab * (1 if self.method == "greedy" else 5)

    def reference(self, *, logits: Any, uniform: Any = None) -> tuple[Any, ...]:
        """Every token that is right: where `uniform` or `p` falls between two, float32 sums may take either."""
        if self.method == "greedy":
            return (np.asarray([reference.greedy(logits)]),)
        draws = [float(uniform) + shift for shift in _TIES]
        if self.method == "top_k":
            tokens = [reference.top_k(logits, min(self.k, self.vocab), draw) for draw in draws]
        else:
            tokens = [reference.top_p(logits, self.p + shift, draw) for shift in _TIES for draw in draws]
        order = np.argsort(-logits, kind="stable")
        ranks = np.flatnonzero(np.isin(order, tokens))
        return (order[ranks[0] : ranks[-1] + 1],)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        if step.model.family != "encoder":
            workload = cls(method=step.sampling, vocab=step.model.vocab, activation_format=step.formats.activation)
            yield Need("sampling", workload, 1)

    @classmethod
    def examples(cls) -> Iterable[Sampling]:
        for method in ("greedy", "top_k", "top_p"):
            for vocab in (1, 17, 32000):
                yield cls(method=method, vocab=vocab)
