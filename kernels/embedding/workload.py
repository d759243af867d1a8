"""y[d] = T[i, :], or x + T[i, :] for learned positions: one row of a table that stays in memory."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from ..formats import format_named, format_names
from ..model import Step
from ..op import Need, Tensor, Workload
from .reference import row, row_added


@dataclass(frozen=True, kw_only=True)
class Embedding(Workload):
    """One row of a `rows` x `d` table, added to `x` where `add` is set."""

    op: ClassVar[str] = "embedding"
    rows: int
    d: int
    add: bool = False
    weight_format: str
    activation_format: str = "f32"

    @property
    def label(self) -> str:
        return f"embedding {self.rows}x{self.d} {self.weight_format}"

    def operands(self) -> dict[str, Tensor]:
        table = {
            "table": Tensor((self.rows, self.d), self.weight_format, "weight"),
            "index": Tensor((), "i32", "index", below=self.rows),
        }
        return table | ({"x": Tensor((self.d,), self.activation_format, "activation")} if self.add else {})

    def results(self) -> dict[str, Tensor]:
        return {"y": Tensor((self.d,), self.activation_format, "activation")}

    def flops(self) -> float:
        return self.d if self.add else 0

    def touched(self) -> dict[str, float]:
        return {"table": format_named(self.weight_format).nbytes((1, self.d))}

    def reference(self, *, table: Any, index: Any, x: Any = None) -> tuple[Any, ...]:
        return (row_added(table, int(index), x) if self.add else row(table, int(index)),)

    def pieces(self, packed: Mapping[str, Any]) -> Iterable[Mapping[str, Any]]:
        index = int(packed["index"])
        yield {
            **packed,
            "table": format_named(self.weight_format).rows(packed["table"], slice(index, index + 1)),
            "index": np.int32(0),
        }

    @classmethod
    def needed_by(cls, step: Step) -> Iterable[Need]:
        model, formats = step.model, step.formats
        common = {"d": model.d_model, "weight_format": formats.weight, "activation_format": formats.activation}
        yield Need("embedding", cls(rows=model.vocab, **common), 1, resident=model.vocab * model.d_model)
        if model.position == "learned":
            rows = model.max_context
            yield Need("position", cls(rows=rows, add=True, **common), 1, resident=rows * model.d_model)

    @classmethod
    def examples(cls) -> Iterable[Embedding]:
        for weight in format_names("weight"):
            for height, d, add in ((1, 1, False), (7, 13, True), (1000, 896, False), (2048, 768, True)):
                if format_named(weight).refuses((height, d)) is None:
                    yield cls(rows=height, d=d, add=add, weight_format=weight)
