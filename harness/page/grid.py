"""The questions that the page can be asked, and their answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ...kernels.model import Model
from ..config.registration import kv_of
from ..facts.catalogue import resolve
from ..facts.envelope import Envelope
from ..facts.models import model_named
from ..predict.answer import Answer, Ask, answers, true_bits


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
    """The answers to some cells, in their order, without the remarks, of which the page shows none.

    A number of devices that is forced and also the fewest changes nothing, so that it is not asked twice.
    """
    free = [one for one in cells if one.devices is None]
    fewest = {_case(ask): one for ask, one in zip(free, answers(free, remarked=False), strict=True)}
    known = [fewest.get(_case(ask)) for ask in cells]
    is_known = [one is not None and ask.devices in (None, one.chips) for ask, one in zip(cells, known, strict=True)]
    rest = iter(answers([ask for ask, told in zip(cells, is_known, strict=True) if not told], remarked=False))
    return [
        replace(one, ask=ask) if told and one else next(rest) for ask, one, told in zip(cells, known, is_known, strict=True)
    ]


def _case(ask: Ask) -> tuple[str, str, str, int]:
    return ask.model.name, ask.device.name, ask.weight, ask.context


def models(names: Sequence[str]) -> tuple[Model, ...]:
    """Models in any spelling, each once.

    Raises:
        UsageError: if no file or alias has one of the names.
    """
    return tuple(model_named(name) for name in dict.fromkeys(resolve("model", one) for one in names))
