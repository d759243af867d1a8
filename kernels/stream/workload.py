"""Read, copy and triad over float32 arrays, in the manner of STREAM (McCalpin 1995)."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal

from ..model import Step
from ..op import Cost, Need, Tensor, Workload
from .reference import block_sums, triad

BLOCK = 1024
"""Elements that `read` adds up to one sum: a page of 4 KiB, so that the sums are a thousandth of the traffic."""
SCALE = 3.0
"""The scalar of `triad`, as in stream.c."""


@dataclass(frozen=True, kw_only=True)
class Stream(Workload):
    """`repeats` passes over arrays of `elements` float32 numbers, within one call.

    `read` adds up blocks of its source; `copy` is a = b; `triad` is a = b + s c. Passes make buffers that fit a
    cache last long enough to be timed: the sums of `read` are those of all passes together.

    Bytes are counted as STREAM counts them: 4 per element and array, 8 for a copy and 12 for a triad. The line
    that a CPU fetches before it writes into it (write-allocate) is not counted, nor are the sums.
    """

    op: ClassVar[str] = "stream"
    is_kernel: ClassVar[bool] = False
    donated: ClassVar[tuple[str, ...]] = ("destination",)
    kind: Literal["read", "copy", "triad"]
    elements: int
    repeats: int = 1

    def __post_init__(self) -> None:
        if self.kind not in ("read", "copy", "triad"):
            raise ValueError(f"kind must be read, copy or triad; got {self.kind!r}")

    def operands(self) -> dict[str, Tensor]:
        names = {"read": ("source",), "copy": ("source", "destination"), "triad": ("left", "right", "destination")}
        return dict.fromkeys(names[self.kind], self._array)

    def results(self) -> dict[str, Tensor]:
        if self.kind == "read":
            return {"sums": Tensor((math.ceil(self.elements / BLOCK),), "f32", "activation")}
        return {"destination": self._array}

    def flops(self) -> float:
        return {"read": 1, "copy": 0, "triad": 2}[self.kind] * self.elements * self.repeats

    def cost(self) -> Cost:
        cost = super().cost()
        # The destination is an operand for the sake of its memory; nothing of what was there is read.
        reads = {name: 0.0 if name == "destination" else self.repeats * size for name, size in cost.reads.items()}
        writes = {name: 0.0 if name == "sums" else self.repeats * size for name, size in cost.writes.items()}
        return replace(cost, reads=reads, writes=writes)

    def tolerance(self) -> float:
        # Adding n numbers one after the other wanders by some sqrt(n / 2) roundings; a running total of equal terms
        # drifts by up to one rounding per pass.
        return max(super().tolerance(), 2.0**-24 * (math.sqrt(BLOCK) + self.repeats)) if self.kind == "read" else 2e-7

    def reference(self, **arrays: Any) -> tuple[Any, ...]:
        if self.kind == "read":
            return (self.repeats * block_sums(arrays["source"], BLOCK),)
        return (arrays["source"] if self.kind == "copy" else triad(arrays["left"], arrays["right"], SCALE),)

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        return ()

    @classmethod
    def examples(cls) -> Iterable[Stream]:
        for kind in ("read", "copy", "triad"):
            for elements, repeats in ((1, 1), (1000, 3), (BLOCK, 1), (5 * BLOCK + 7, 2), (300_001, 1), (300_001, 50)):
                yield cls(kind=kind, elements=elements, repeats=repeats)

    @property
    def _array(self) -> Tensor:
        return Tensor((self.elements,), "f32", "weight")
