"""chosen[j], weights[j] = the best experts by their scores: softmax or sigmoid, biased, grouped, renormalised or not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np

from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import SCORES, kept, ranked

_TIE = 1e-6
"""Scores this close, relative to their size, count as tied: the rounding of float32."""


@dataclass(frozen=True, kw_only=True)
class Router(Workload):
    """The `top_k` of `experts`, the best first, from the logits that the router's matrix gave.

    Softmax with `renormalised` is Mixtral's (arXiv:2401.04088), Qwen3's and gpt-oss's softmax over the chosen. Groups are
    DeepSeek-V2's (arXiv:2405.04434, section 2.2.2), where the best expert speaks for its group; with a `selection_bias`
    the best two do (DeepSeek-V3, arXiv:2412.19437, section 2.1.2). `kernels.model.Mixture` says what the fields mean.
    """

    op: ClassVar[str] = "router"
    experts: int
    top_k: int
    scores: Literal["softmax", "sigmoid"] = "softmax"
    renormalised: bool = True
    selection_bias: bool = False
    groups: int = 1
    top_groups: int = 1
    scale: float = 1.0
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        groups = f" in {self.top_groups} of {self.groups} groups" if self.groups > 1 else ""
        return f"router {self.top_k} of {self.experts}{groups} {self.scores}"

    @property
    def best_of_group(self) -> int:
        """Experts of a group that are added up to compare it with others."""
        return min(2 if self.selection_bias else 1, self.experts // self.groups)

    def operands(self) -> dict[str, Tensor]:
        bias = {"bias": Tensor((self.experts,), "f32", "weight")} if self.selection_bias else {}
        return {"logits": Tensor((self.experts,), self.activation_format, "activation")} | bias

    def results(self) -> dict[str, Tensor]:
        return {
            "chosen": Tensor((self.top_k,), "i32", "index", below=self.experts),
            "weights": Tensor((self.top_k,), self.activation_format, "activation"),
        }

    def flops(self) -> float:
        # An exponential, an add and a divide for each score, and a compare; an add and a divide for each that is chosen.
        return (4 + self.selection_bias) * self.experts + (2 * self.renormalised + (self.scale != 1)) * self.top_k

    def reference(self, *, logits: Any, bias: Any = 0.0) -> tuple[Any, ...]:
        """Every expert that is right in its place: the best one, then where float32 may see a tie, any of the tied."""
        scores = SCORES[self.scores](logits)
        selection = scores + bias
        selection = np.where(kept(selection, self.groups, self.top_groups, self.best_of_group), selection, -np.inf)
        chosen = ranked(selection, self.top_k)
        is_tied = np.abs(selection[chosen, None] - selection) <= _TIE * (np.abs(scores) + np.abs(bias))
        weights = scores[chosen] / (scores[chosen].sum() if self.renormalised else 1)
        tied = np.where(is_tied, np.arange(self.experts), chosen[:, None])
        return np.concatenate([chosen[:, None], tied], axis=1), self.scale * weights

    def follow(self, chosen: Any, slack: float, *, logits: Any, bias: Any = 0.0) -> tuple[Any, Any] | None:
        """The result with these experts, if they could be chosen from logits that are off by `slack` at most; else None.

        Args:
            chosen: `top_k` experts.
            slack: largest error of a logit.
            logits, bias: as in `reference`.
        """
        scores = SCORES[self.scores](logits)
        is_chosen = np.isin(np.arange(self.experts), chosen)
        # Neither score's slope exceeds the score.
        selection = scores + bias + np.where(is_chosen, slack, -slack) * scores
        selection = np.where(kept(selection, self.groups, self.top_groups, self.best_of_group), selection, -np.inf)
        if not np.array_equal(np.sort(ranked(selection, self.top_k)), np.sort(chosen)):
            return None
        weights = scores[chosen] / (scores[chosen].sum() if self.renormalised else 1)
        return chosen, self.scale * weights

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        mixture = step.model.mixture
        if mixture is not None:
            workload = cls(
                experts=mixture.experts,
                top_k=mixture.top_k,
                scores=mixture.scores,
                renormalised=mixture.renormalised,
                selection_bias=mixture.selection_bias,
                groups=mixture.groups,
                top_groups=mixture.top_groups,
                scale=mixture.scale,
                activation_format=step.formats.activation,
            )
            yield Need("routing", workload, step.model.mixture_layers)

    @classmethod
    def examples(cls) -> Iterable[Router]:
        for scores in ("softmax", "sigmoid"):
            for experts, top_k in ((1, 1), (8, 2), (17, 17), (128, 8)):
                for renormalised in (True, False):
                    yield cls(experts=experts, top_k=top_k, scores=scores, renormalised=renormalised)
            yield cls(experts=12, top_k=4, scores=scores, groups=12, top_groups=5, selection_bias=True)
            yield cls(experts=160, top_k=6, scores=scores, groups=8, top_groups=3, renormalised=False, scale=16.0)
