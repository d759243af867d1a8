"""What one token of a model reads, in groups whose number formats may differ. Derived from the list of calls."""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from functools import cache

from ...kernels.model import Model, Step
from ..errors import UsageError
from ..facts.catalogue import names
from ..facts.models import model_named
from ..steps.workloads import decode_step, kv_bytes, resident_elements, streamed_weight_elements

_KV_BYTES = 2
_LIKE_SIZE = (math.log(1.5), math.log(4))


@dataclass(frozen=True)
class Traffic:
    """Elements per token.

    Attributes:
        experts: weights of the routed experts that a token uses.
        body: every other matrix but the LM head.
        head: the LM head.
        resident_experts, resident_body: what stays in memory, but for
        resident_vocabulary: the input embedding and the LM head, once where they are tied.
    """

    experts: int
    body: int
    head: int
    resident_experts: int
    resident_body: int
    resident_vocabulary: int


@cache
def traffic(model: Model) -> Traffic:
    """What a token of the model streams.

    Raises:
        UsageError: if the model has no decode step.
    """
    needs = decode_step(Step(model, 1))
    experts = [need for need in needs if need.role.startswith("expert")]
    head = streamed_weight_elements([need for need in needs if need.role == "lm_head"])
    routed = streamed_weight_elements(experts)
    resident, resident_experts = resident_elements(needs), resident_elements(experts)
    vocabulary = resident_elements([need for need in needs if need.role in ("embedding", "lm_head")])
    body = streamed_weight_elements(needs) - routed - head
    if body + routed + head <= 0:
        raise UsageError(f"model must read weights; {model.name} reads none")
    return Traffic(routed, body, head, resident_experts, resident - resident_experts - vocabulary, vocabulary)


@cache
def kv_elements(model: Model, context: int) -> float:
    """Elements of the KV cache that the next token reads when `context` tokens are attended to."""
    return kv_bytes(decode_step(Step(model, max(1, context)))) / _KV_BYTES


def active_parameters(model: Model) -> int:
    """Parameters that a token touches, the embedding's row left aside."""
    read = traffic(model)
    return read.experts + read.body + read.head


def stand_in(total: float, active: float) -> Model | None:
    """The known decoder nearest in what a token touches, and then in all; None if none is near enough.

    Args:
        total: parameters.
        active: those that a token touches.
    """

    def ratios(model: Model) -> tuple[float, float]:
        read = traffic(model)
        known = read.resident_experts + read.resident_body + read.resident_vocabulary
        return abs(math.log(active_parameters(model) / active)), abs(math.log(known / total))

    near = [model for model in _decoders() if all(map(operator.le, ratios(model), _LIKE_SIZE))]
    return min(near, key=ratios, default=None)


@cache
def _decoders() -> tuple[Model, ...]:
    return tuple(model for model in map(model_named, names("model")) if model.family == "decoder")
