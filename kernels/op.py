"""The contract of an op: what one call needs, what it costs, what is right, and who can run it.

A *workload* is one call of an op at one shape and one set of number formats. Everything that is true of the
call whoever runs it stands on the workload: its operands, its cost, its float64 reference. An
*implementation* is a JAX function that computes it. Workloads import no JAX, so predicting a machine that
is not here costs no JAX start-up.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np

from .formats import format_named

if TYPE_CHECKING:
    from .model import Step

Role = Literal["weight", "kv", "activation", "index"]


@dataclass(frozen=True)
class Tensor:
    """A named array of a workload: its axes, its number format and where it lives during decode.

    Attributes:
        shape: extent of every axis; the last is the contraction axis of a weight.
        format: a name in `kernels.formats`.
        role: `weight` and `kv` stream from memory every token (cold), `activation` and `index` were just
            written by the previous kernel (hot).
        below: where it is positive, values are drawn from [0, below); an index always has one.

    """

    shape: tuple[int, ...]
    format: str
    role: Role
    below: int = 0

    @property
    def elements(self) -> int:
        """Number of logical elements."""
        return math.prod(self.shape)

    @property
    def nbytes(self) -> float:
        """Bytes at the format's true width, block scales included."""
        return format_named(self.format).nbytes(self.shape)


@dataclass(frozen=True)
class Cost:
    """What a call must do at the least: each input read once, each output written once.

    Attributes:
        flops: floating-point operations; a multiply-add counts two.
        reads: bytes read, per operand.
        writes: bytes written, per result.
        streamed: names of the operands that come from memory each token (weights and KV).

    """

    flops: float
    reads: dict[str, float]
    writes: dict[str, float]
    streamed: frozenset[str]

    @property
    def bytes(self) -> float:
        """All bytes moved."""
        return sum(self.reads.values()) + sum(self.writes.values())

    @property
    def streamed_bytes(self) -> float:
        """Bytes that come from memory in a decode step, where activations stay in cache."""
        return sum(size for name, size in self.reads.items() if name in self.streamed)

    @property
    def intensity(self) -> float:
        """Arithmetic intensity in FLOP per byte."""
        return self.flops / self.bytes if self.bytes else math.inf


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """One call of one op. Subclasses are frozen dataclasses whose fields are the op's axes and formats."""

    op: ClassVar[str]
    """Name of the op: its folder under `kernels/`."""
    donated: ClassVar[tuple[str, ...]] = ()
    """Operands whose buffer the call takes over; the result of the same name is the next call's operand."""
    piece_axis: ClassVar[int] = 0
    """The axis along which the references of `pieces` are joined."""
    is_kernel: ClassVar[bool] = True
    """Whether a decode step is made of such calls: neither a probe of the machine's ceilings nor the step itself."""

    @abstractmethod
    def operands(self) -> dict[str, Tensor]:
        """Inputs in call order."""

    @abstractmethod
    def results(self) -> dict[str, Tensor]:
        """Outputs in return order."""

    @abstractmethod
    def flops(self) -> float:
        """Floating-point operations of one call; a multiply-add counts two."""

    # `*_: Any, **operands: Any` is the signature that type checkers let a subclass narrow to its operands' names.
    @abstractmethod
    def reference(self, *_: Any, **operands: Any) -> tuple[Any, ...]:
        """The results in float64, from operands decoded to float64 (NumPy arrays or scalars)."""

    @classmethod
    @abstractmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        """The calls of this op in one decode step, in the order they run within a layer."""

    @classmethod
    @abstractmethod
    def examples(cls) -> Iterable[Workload]:
        """Small, odd and degenerate calls that every implementation must get right or refuse."""

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        """Packed operands of smaller calls whose references, joined along `piece_axis`, are this call's.

        A float64 copy of the largest weights would not fit in memory, so ops that stream them give a part at a time.
        """
        yield packed

    def stand_in(self, enough_bytes: float) -> Workload:
        """A call to measure in this one's place: it costs the same, and keeps less in memory that it does not touch.

        Args:
            enough_bytes: memory that other calls touch before one touches the same again, where this call's own would do.
        """
        return self

    def expected(self, packed: Mapping[str, Any]) -> tuple[Any, ...]:
        """The float64 results for packed operands, piece by piece and joined along `piece_axis`."""
        formats = {name: format_named(tensor.format) for name, tensor in self.operands().items()}
        parts = [
            self.reference(**{name: formats[name].unpack(value) for name, value in piece.items()})
            for piece in self.pieces(packed)
        ]
        if len(parts) == 1:
            return parts[0]
        return tuple(np.concatenate(results, self.piece_axis) for results in zip(*parts, strict=True))

    def share(self, chips: int) -> float:
        """The part of the call that the busiest of several tensor-parallel chips does; 1 where each does all of it."""
        return 1.0

    def expected_beside(self, packed: Mapping[str, Any], outputs: tuple[Any, ...]) -> tuple[Any, ...]:
        """The same, following an implementation's outputs wherever several choices are right and what comes after differs."""
        return self.expected(packed)

    @property
    def follows_outputs(self) -> bool:
        """Whether its float64 results depend on which of several right choices an implementation made."""
        return type(self).expected_beside is not Workload.expected_beside

    def cost(self) -> Cost:
        """FLOPs, and bytes per tensor. Ops that touch only part of an operand override `touched`."""
        operands = self.operands()
        touched = self.touched()
        return Cost(
            flops=self.flops(),
            reads={name: touched.get(name, tensor.nbytes) for name, tensor in operands.items()},
            writes={name: touched.get(name, tensor.nbytes) for name, tensor in self.results().items()},
            streamed=frozenset(name for name, tensor in operands.items() if tensor.role in ("weight", "kv")),
        )

    def touched(self) -> dict[str, float]:
        """Bytes truly read or written of the tensors that a call does not touch whole."""
        return {}

    def tolerance(self) -> float:
        """Largest accepted ||out - reference|| / ||reference|| (Frobenius norm).

        Operands are rounded to their formats before both sides see them, so what is left is accumulation
        in float32 and the rounding of the results.
        """
        return max(2e-6, *(format_named(tensor.format).epsilon for tensor in self.results().values()))

    def axes(self) -> dict[str, Any]:
        """The fields as plain values: what a record stores and what `workload_from` reads."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @property
    def products(self) -> int:
        """Sums of products in it, one after the other, before each of which a library may round what it multiplies."""
        return 1

    @property
    def label(self) -> str:
        """The call in a few characters, such as `gemv 14336x4096 bf16`."""
        return f"{self.op} {' '.join(str(value) for value in self.axes().values())}"


@dataclass(frozen=True)
class Need:
    """One line of a decode step: a call, how often a token needs it, and the weights it keeps resident.

    Attributes:
        role: what the call does in the model (`qkv`, `ffn_down`, `lm_head`).
        workload: the call.
        count: calls per token; 0 for weights that stay resident but are not read in a decode step.
        resident: distinct weight elements that all these calls together keep in memory. A tied LM head keeps
            none of its own; a mixture keeps all experts though a token reads few.

    """

    role: str
    workload: Workload
    count: int
    resident: int = 0


@dataclass(frozen=True)
class Implementation:
    """A JAX function that computes a workload.

    Attributes:
        name: `file.function`, unique within the op.
        op: the op it implements.
        function: called as `function(workload, **operands)` under `jax.jit`; returns the results in order, or
            one array where there is one result. Operands are packed pytrees as `Format.pack` makes them.
        backends: JAX backends it runs on.
        priority: the largest supported one is the backend's default.
        refuses: the reason why a workload cannot be computed, or None.
        missing: what this machine lacks to run it at all, or None.

    An implementation in a file `peers.py` is another library's code, for comparison only. Its function is called once as
    `function(workload, **operands)` with packed NumPy operands, outside of any trace, and returns a function without
    arguments that computes the results from them each time it is called. None stands in them for a result that the library
    keeps to itself.

    """

    name: str
    op: str
    function: Callable[..., Any]
    backends: tuple[str, ...]
    priority: int
    refuses: Callable[[Workload], str | None]
    missing: Callable[[], str | None] = lambda: None

    @property
    def is_peer(self) -> bool:
        """Whether another library computes."""
        return is_peer(self.name)


def is_peer(implementation: str) -> bool:
    """Whether the implementation of a name is another library's."""
    return implementation.startswith("peers.")


def implementation(
    *,
    backends: Iterable[str] = ("cpu", "gpu", "tpu"),
    priority: int = 0,
    refuses: Callable[[Any], str | None] = lambda workload: None,
    missing: Callable[[], str | None] = lambda: None,
) -> Callable[[Callable[..., Any]], Implementation]:
    """Marks a function in an op's folder as an implementation of that op. See `Implementation`."""

    def mark(function: Callable[..., Any]) -> Implementation:
        folder, file = function.__module__.rsplit(".", 2)[-2:]
        return Implementation(f"{file}.{function.__name__}", folder, function, tuple(backends), priority, refuses, missing)

    return mark
