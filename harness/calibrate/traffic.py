"""What one token of a model reads, in groups whose number formats may differ. Derived from the list of calls."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

from ...kernels.model import Model, Step
from ..errors import UsageError
from ..workloads import decode_step, kv_bytes, streamed_weight_elements

_KV_BYTES = 2


@dataclass(frozen=True)
class Traffic:
    """Elements per token.

    Attributes:
        experts: weights of the routed experts that a token uses.
        body: every other matrix but the LM head.
        head: the LM head.
        resident_experts, resident_body: what stays in memory, tables included.
    """

    experts: int
    body: int
    head: int
    resident_experts: int
    resident_body: int


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
    resident = sum(need.resident for need in needs)
    resident_experts = sum(need.resident for need in experts)
    body = streamed_weight_elements(needs) - routed - head
    if body + routed + head <= 0:
        raise UsageError(f"model must read weights; {model.name} reads none")
    return Traffic(routed, body, head, resident_experts, resident - resident_experts)


@cache
def kv_elements(model: Model, context: int) -> float:
    """Elements of the KV cache that the next token reads when `context` tokens are attended to."""
    return kv_bytes(decode_step(Step(model, max(1, context)))) / _KV_BYTES
