"""The most multiply-adds per second that a device does: in registers, and in matrix products."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ..formats import format_named
from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import chain, products

TERM = 2.0**-12
FACTOR = 1 - TERM
"""Of a multiply-add: both are exact in float32, the fixed point is 1, and 4096 steps bring x closer to it by 1/e."""


@dataclass(frozen=True, kw_only=True)
class Peak(Workload):
    """Arithmetic that waits for no memory.

    `multiply_add`: `size` independent chains of `repeats` float32 steps x = x (1 - 2^-12) + 2^-12, in registers.
    `matmul`: `repeats` products of matrices of `size` rows and columns, each the left operand of the next and
    divided by sqrt(size) to stay of order 1. Operands and results have the number format, sums are float32.
    """

    op: ClassVar[str] = "peak"
    is_kernel: ClassVar[bool] = False
    kind: Literal["multiply_add", "matmul"]
    format: str
    size: int
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("multiply_add", "matmul"):
            raise ValueError(f"kind must be multiply_add or matmul; got {self.kind!r}")
        if self.kind == "multiply_add" and self.format != "f32":
            raise ValueError(f"format must be f32 for multiply_add; got {self.format!r}")

    def operands(self) -> dict[str, Tensor]:
        if self.kind == "multiply_add":
            return {"x": self._vector}
        return {"left": self._matrix, "right": self._matrix}

    def results(self) -> dict[str, Tensor]:
        return {"y": self._vector if self.kind == "multiply_add" else self._matrix}

    def flops(self) -> float:
        return 2 * self.repeats * self.size ** (1 if self.kind == "multiply_add" else 3)

    def tolerance(self) -> float:
        if self.kind == "multiply_add":
            # A step rounds once and shrinks what was rounded before, so errors stop growing after 1 / TERM steps.
            return max(super().tolerance(), 2.0**-24 * min(self.repeats, 1 / TERM))
        return self.repeats * (format_named(self.format).epsilon + math.sqrt(self.size) * 2.0**-24)

    def reference(self, **operands: Any) -> tuple[Any, ...]:
        if self.kind == "multiply_add":
            return (chain(operands["x"], FACTOR, TERM, self.repeats),)
        return (products(operands["left"], operands["right"], self.repeats),)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        return ()

    @classmethod
    def examples(cls) -> Iterable[Peak]:
        for size, repeats in ((1, 1), (100, 7), (1000, 5000)):
            yield cls(kind="multiply_add", format="f32", size=size, repeats=repeats)
        for format in ("f32", "bf16"):
            for size, repeats in ((1, 1), (17, 1), (128, 3)):
                yield cls(kind="matmul", format=format, size=size, repeats=repeats)

    @property
    def label(self) -> str:
        return f"peak {self.kind} {self.format} {self.size} x {self.repeats}"

    @property
    def _vector(self) -> Tensor:
        return Tensor((self.size,), self.format, "activation")

    @property
    def _matrix(self) -> Tensor:
        return Tensor((self.size, self.size), self.format, "activation")
