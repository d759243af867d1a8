"""Which kernels a command asks for: the question turned into a model, a step and a list of calls."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...kernels.encoder import EncoderPass
from ...kernels.formats import format_names
from ...kernels.model import Formats, Step
from ...kernels.op import Need, Workload
from ...kernels.step import DecodeStep
from ..errors import UsageError, chosen
from ..facts.devices import device_from, is_here, target
from ..facts.envelope import Envelope
from ..facts.models import model_from
from .workloads import check_context, decode_step

POOL_SHARE = 0.5
"""Share of the free memory that the operands of one batch of kernels may take; drawing and checking need the rest."""


@dataclass(frozen=True)
class Plan:
    """What a command is about.

    Attributes:
        step: the model at a context, in some formats.
        needs: every call of the step, with its count; none of an encoder, which has a forward pass and no step.
        targets: machines to carry it to, each with how many.
    """

    step: Step
    needs: tuple[Need, ...]
    targets: tuple[tuple[Envelope, int], ...]

    @property
    def caveat(self) -> str:
        """What is odd about the question; empty where nothing is."""
        model, context = self.step.model, self.step.context
        if context <= model.max_context:
            return ""
        limit = f"the {model.max_context} that {model.name} was made for"
        return f"context {context} is beyond {limit}: its kernels run, the model would not"

    def calls(self, ops: Sequence[str]) -> dict[Workload, tuple[Need, ...]]:
        """The distinct calls of some ops that a token makes, each with the needs that it meets, in step order."""
        wanted = [need for need in self.needs if need.count and need.workload.op in ops]
        return {need.workload: tuple(n for n in wanted if n.workload == need.workload) for need in wanted}

    def steps(self, depths: Iterable[int]) -> dict[Workload, tuple[Need, ...]]:
        """The whole step as one call, or an encoder's forward pass, of copies of the model with so many layers.

        Raises:
            UsageError: if the model has a part that no step is composed of.
        """
        role, of = ("forward_pass", EncoderPass.of) if self.step.model.family == "encoder" else ("step", DecodeStep.of)
        try:
            wholes = [of(self.step, layers) for layers in depths]
        except ValueError as error:
            raise UsageError(str(error)) from None
        return {whole: (Need(role, whole, 1),) for whole in wholes}


def plan(config: DictConfig) -> Plan:
    """Reads the question out of a composed configuration.

    Raises:
        UsageError: for a value that is out of range; names field, value and what is accepted.
    """
    facts: dict[str, Any] = OmegaConf.to_container(config.model, resolve=True)  # type: ignore[assignment]
    model = model_from(facts, str(facts.get("name", "model")))
    formats = Formats(**{role: _format(role, config.format[role]) for role in ("weight", "kv", "activation")})
    step = Step(model=model, context=config.context, formats=formats, sampling=_sampling(config.sampling), fused=config.fused)
    return Plan(step, _needs(step, config), _targets(config))


def _needs(step: Step, config: DictConfig) -> tuple[Need, ...]:
    asks_for_whole = "kernel" not in config or DecodeStep.op in config.kernel.ops
    if step.model.family != "encoder" or not asks_for_whole:
        return decode_step(step)
    check_context(step.context)
    return ()


def _format(role: str, name: str) -> str:
    return chosen(f"format.{role}", name, format_names(role))


def _sampling(name: str) -> Any:
    return chosen("sampling", name, ("greedy", "top_k", "top_p"))


def _targets(config: DictConfig) -> tuple[tuple[Envelope, int], ...]:
    if config.devices < 1:
        raise UsageError(f"devices must be a whole number from 1; got {config.devices}")
    if config.device is None:
        return tuple(target(text) for text in config.targets)
    if is_here(config.device):
        # The table has a line for this machine whatever the targets are.
        return ()
    facts: dict[str, Any] = OmegaConf.to_container(config.device, resolve=True)  # type: ignore[assignment]
    return ((device_from(facts, str(facts.get("name", "device"))), config.devices),)
