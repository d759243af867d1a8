"""What a configuration of `roofcast bench` asks for, known, or refused, before anything is started."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from omegaconf import DictConfig

from ..errors import UsageError, chosen
from ..measure.rounds import Stopping
from ..measure.timer import CHOICES as TIMERS
from ..steps.plan import Plan, plan
from ..store.figures import Residency


@dataclass(frozen=True)
class Question:
    """A configuration that can be.

    Attributes:
        asked: the step and its kernels.
        stopping: when a kernel has been sampled enough.
        residency: of weights and cache.
        timer: the one that is wished for.
        sizes: that kernels are to be cut by, by name.
    """

    asked: Plan
    stopping: Stopping
    residency: Residency
    timer: str
    sizes: dict[str, int]


def question(config: DictConfig) -> Question:
    """What a configuration asks for.

    Raises:
        UsageError: if it cannot be, whatever the machine.
    """
    asked = plan(config)
    stopping, sizes = _stopping(config), _block_sizes(config)
    residency: Any = chosen("timing.residency", config.timing.residency, ("cold", "warm"))
    timer = chosen("timing.timer", config.timing.timer, TIMERS)
    if config.seed < 0:
        raise UsageError(f"seed must be a whole number from 0; got {config.seed}")
    # What a whole step comes to depends on the memory that is there.
    if not asked.calls(config.kernel.ops) and "step" not in config.kernel.ops:
        raise nothing_called(config, asked)
    return Question(asked, stopping, residency, timer, sizes)


def nothing_called(config: DictConfig, asked: Plan) -> UsageError:
    """The error that a model calls none of the ops."""
    return UsageError(f"kernel must be an op that {asked.step.model.name} calls; got {', '.join(config.kernel.ops)}")


def _block_sizes(config: DictConfig) -> dict[str, int]:
    sizes = {str(name): size for name, size in config.blocks.items() if size is not None}
    for name, size in sizes.items():
        if size < 1:
            raise UsageError(f"blocks.{name} must be null or a whole number from 1; got {size}")
    return sizes


def _stopping(config: DictConfig) -> Stopping:
    timing = config.timing
    for name in ("precision", "budget_s"):
        if not 0 < timing[name] < float("inf"):
            raise UsageError(f"timing.{name} must be a number above 0; got {timing[name]}")
    for name in ("min_samples", "max_samples"):
        if timing[name] < 2:
            raise UsageError(f"timing.{name} must be a whole number from 2; got {timing[name]}")
    if timing.max_samples < timing.min_samples:
        raise UsageError(
            f"timing.max_samples must be at least timing.min_samples, {timing.min_samples}; got {timing.max_samples}"
        )
    return Stopping(timing.precision, timing.min_samples, timing.max_samples, timing.budget_s)
