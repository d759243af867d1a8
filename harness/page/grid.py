"""The questions that the page can be asked, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ...kernels.model import Model
from ..answer import Answer, Ask, answers, true_bits
from ..catalogue import resolve
from ..config import kv_of
from ..envelope import Envelope
from ..models import model_named


@dataclass(frozen=True)
class Grid:
    """Every combination of these is a cell; order is that of the cells, the last axis fastest.

    Attributes:
        models: shapes.
        machines: one chip each.
        formats: of the weights; the KV cache's follows as on the command line.
        contexts: tokens attended to.
        devices: forced numbers; None takes the fewest that hold the model.
        prompt: tokens before the first one.
        price: of one device and hour.
    """

    models: tuple[Model, ...]
    machines: tuple[Envelope, ...]
    formats: tuple[str, ...]
    contexts: tuple[int, ...]
    devices: tuple[int | None, ...]
    prompt: int = 1024
    price: float | None = None

    def cells(self) -> list[Ask]:
        """The questions, as `roofcast predict` asks them."""
        return [
            Ask(
                model,
                machine,
                weight=format,
                weight_bits=true_bits(format),
                kv_bits=true_bits(kv_of(format), (1, model.head_dim)),
                context=context,
                prompt=self.prompt,
                devices=devices,
                price=self.price,
            )
            for model in self.models
            for machine in self.machines
            for format in self.formats
            for context in self.contexts
            for devices in self.devices
        ]


def rows(cells: Sequence[Ask]) -> list[Answer]:
    """The answers to some cells, in their order, without the remarks, of which the page shows none."""
    return answers(cells, remarked=False)


def models(names: Sequence[str]) -> tuple[Model, ...]:
    """Models in any spelling, each once.

    Raises:
        UsageError: if no file or alias has one of the names.
    """
    return tuple(model_named(name) for name in dict.fromkeys(resolve("model", one) for one in names))
