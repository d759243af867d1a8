"""One decode step as a list of calls, in the order a token meets them, and what the list adds up to.

The list is derived from a model's shape once; measuring, summing and predicting all read the same one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ...kernels.model import Step
from ...kernels.op import Need, Tensor
from ...kernels.registry import op_named, op_names
from ...kernels.step import roles
from ..errors import UsageError

_OTHERS = len((*roles.INPUT, *roles.LAYER))
"""The place of a role that is not known."""
_PLACES = {role: place for place, role in enumerate((*roles.INPUT, *roles.LAYER))}
_PLACES |= {role: place for place, role in enumerate(roles.OUTPUT, _OTHERS + 1)}


def decode_step(step: Step) -> tuple[Need, ...]:
    """Every call that the next token of a model needs, in order; weights that it does not read come last, with count 0.

    Raises:
        UsageError: if the model has no decode step, or the context is no whole number from 1.
    """
    model, context = step.model, step.context
    if model.family == "encoder":
        raise UsageError(
            f"model must be a decoder or an encoder-decoder; got {model.name}, an encoder, which has no decode step: "
            "kernel=step measures its forward pass"
        )
    check_context(context)
    return calls(step)


def check_context(context: int) -> None:
    """Raises UsageError unless a context is a whole number from 1."""
    if not isinstance(context, int) or isinstance(context, bool) or context < 1:
        raise UsageError(f"context must be a whole number from 1; got {context!r}")


def calls(step: Step) -> tuple[Need, ...]:
    """The calls that every op says one token needs, in order; of an encoder, its share of a forward pass.

    Ops know their own calls only, so the order is by role. A role that is new here runs after the layer's known
    ones: a new op needs no edit of this table to be measured and summed, only to be listed at its true place.
    """
    needs = [need for op in op_names() for need in op_named(op).needed_by(step)]
    return tuple(sorted(needs, key=lambda need: (need.count == 0, _PLACES.get(need.role, _OTHERS))))


def resident_elements(needs: Iterable[Need]) -> int:
    """Weights that stay in memory: matrices and tables, each once. Norms and biases are not counted."""
    return sum(need.resident for need in needs)


def streamed_weight_elements(needs: Iterable[Need]) -> int:
    """Matrix weights that a token reads from memory: the active ones of every layer, and the LM head.

    Of a mixture's experts those count that a token chooses. Tables in which a row is looked up (the input embedding) do
    not count, nor do norms.
    """
    return sum(need.count * read for need in needs for read in _matrix_elements_read(need))


def weight_bytes(needs: Iterable[Need]) -> float:
    """Memory that the resident weights take at their formats' true widths, block scales included."""
    return sum(_resident_bytes(need) for need in needs if need.resident)


def kv_bytes(needs: Iterable[Need]) -> float:
    """Memory that the KV cache takes at the step's context; a token reads all of it once.

    Windowed layers keep no more than their window. Cross-attention's keys and values count too.
    """
    return sum(need.count * size for need in needs for size in _reads(need, "kv"))


def resident_bytes(needs: Sequence[Need]) -> float:
    """Memory that the step takes: weights and KV cache."""
    return weight_bytes(needs) + kv_bytes(needs)


@dataclass(frozen=True)
class StepCost:
    """What one token costs at the least, over all its calls.

    Attributes:
        calls: kernels that run.
        flops: floating-point operations; a multiply-add counts two.
        weight_bytes: weights read from memory.
        kv_bytes: KV cache read from memory.
        hot_bytes: everything else read or written, which the kernel before just wrote or the next one reads.

    """

    calls: int
    flops: float
    weight_bytes: float
    kv_bytes: float
    hot_bytes: float

    @property
    def streamed_bytes(self) -> float:
        """Bytes that come from memory each token."""
        return self.weight_bytes + self.kv_bytes


def step_cost(needs: Sequence[Need]) -> StepCost:
    """The sum of a list of calls, each as often as a token needs it."""
    weight, kv = (sum(need.count * size for need in needs for size in _reads(need, role)) for role in ("weight", "kv"))
    costs = [(need.count, need.workload.cost()) for need in needs]
    return StepCost(
        calls=sum(count for count, _ in costs),
        flops=sum(count * cost.flops for count, cost in costs),
        weight_bytes=weight,
        kv_bytes=kv,
        hot_bytes=sum(count * cost.bytes for count, cost in costs) - weight - kv,
    )


def _weights(need: Need) -> list[Tensor]:
    return [tensor for tensor in need.workload.operands().values() if tensor.role == "weight"]


def _matrix_elements_read(need: Need) -> Iterator[int]:
    if need.workload.op == "embedding":
        return
    reads = need.workload.cost().reads
    for name, tensor in need.workload.operands().items():
        if tensor.role == "weight" and len(tensor.shape) > 1:
            yield round(tensor.elements * reads[name] / tensor.nbytes)


def _resident_bytes(need: Need) -> float:
    # One call's weights stand for all that are resident: they have its shape and format.
    weights = [tensor for tensor in _weights(need) if len(tensor.shape) > 1]
    return need.resident * sum(tensor.nbytes for tensor in weights) / sum(tensor.elements for tensor in weights)


def _reads(need: Need, role: str) -> Iterator[float]:
    reads = need.workload.cost().reads
    return (reads[name] for name, tensor in need.workload.operands().items() if tensor.role == role)
