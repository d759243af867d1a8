"""A whole model as one call: what a decode step and an encoder's forward pass have in common."""

from __future__ import annotations

import dataclasses
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, ClassVar, Self

from ..model import Latent, Mixture, Model, Step, Window
from ..op import Need, Workload
from .compose import Composition

_NESTED = {"mixture": Mixture, "latent": Latent, "window": Window}


@dataclass(frozen=True, kw_only=True)
class Whole(Workload):
    """`model` at `context`. Its shapes and formats are those of the calls that the ops list for one token of it.

    Raises:
        ValueError: if the model has a part that this is not composed of.
    """

    is_kernel: ClassVar[bool] = False
    what: ClassVar[str]
    """What is composed, in words."""
    model: Model
    context: int
    weight_format: str = "bf16"

    def __post_init__(self) -> None:
        if isinstance(self.model, Mapping):
            object.__setattr__(self, "model", _model(self.model))
        part = self.missing_part(self.model) or self.composition.left_out()
        if part is not None:
            raise ValueError(f"model must be one that {self.what} is composed for; got {self.model.name}, which has {part}")

    @property
    @abstractmethod
    def step(self) -> Step:
        """What the ops are asked."""

    @staticmethod
    @abstractmethod
    def missing_part(model: Model) -> str | None:
        """What a model has that this is not composed of, or None."""

    @classmethod
    def of(cls, step: Step, layers: int | None = None) -> Self:
        """That of a question, or of a copy of its model with fewer layers."""
        model, formats = step.model, step.formats
        asked: dict[str, Any] = {
            "model": model if layers is None else replace(model, layers=layers),
            "context": step.context,
            "weight_format": formats.weight,
            "kv_format": formats.kv,
            "activation_format": formats.activation,
            "sampling": step.sampling,
            "fused": step.fused,
        }
        return cls(**{field.name: asked[field.name] for field in dataclasses.fields(cls)})

    @cached_property
    def composition(self) -> Composition:
        """The calls of one token, how they follow each other, and the names of their weights."""
        return Composition.of(self.step)

    def axes(self) -> dict[str, Any]:
        return super().axes() | {"model": _axes(self.model)}

    def reference(self, *_: Any, **operands: Any) -> tuple[Any, ...]:
        return self.expected(operands)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        return ()


def _axes(model: Model) -> dict[str, Any]:
    """A model as plain values: only what is not a default, so that a field which `Model` gains changes no older record."""
    defaults = {field.name: field.default for field in dataclasses.fields(Model)}
    facts = {name: getattr(model, name) for name, default in defaults.items() if getattr(model, name) != default}
    return facts | {name: dataclasses.asdict(facts[name]) for name in _NESTED if name in facts}


def _model(axes: Mapping[str, Any]) -> Model:
    """The model that `_axes` described."""
    return Model(**{name: _NESTED[name](**value) if name in _NESTED else value for name, value in axes.items()})
