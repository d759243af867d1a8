"""What `lanes`, `vectors` and `nibbles` are generated with: blocks of vectors in LLVM's intermediate representation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core.errors import RequireLiteralValue
from numba.extending import models, register_model

from .widths import LANES

F16, F32 = ir.HalfType(), ir.FloatType()
I8, I16, I32, WORD = (ir.IntType(bits) for bits in (8, 16, 32, 64))
VECTOR, HALVES = ir.VectorType(F32, LANES), ir.VectorType(F16, LANES)
BYTES, SHORTS, INTS = (ir.VectorType(kind, LANES) for kind in (I8, I16, I32))
FUSED = ("contract",)
"""A product and the sum it goes into may be one instruction. Nothing else may be reordered or assumed."""


class Block(types.Type):
    """The Numba type of `count` vectors."""

    def __init__(self, count: int) -> None:
        self.count = count
        super().__init__(f"lanes[{count}]")


@register_model(Block)
class _BlockModel(models.PrimitiveModel):
    def __init__(self, manager: Any, block: Block) -> None:
        super().__init__(manager, block, ir.ArrayType(VECTOR, block.count))


def pack(builder: Any, vectors: Sequence[Any]) -> Any:
    """Generates a block of vectors."""
    block = ir.Constant(ir.ArrayType(VECTOR, len(vectors)), ir.Undefined)
    for index, vector in enumerate(vectors):
        block = builder.insert_value(block, vector, index)
    return block


def unpack(builder: Any, aggregate: Any) -> list[Any]:
    """Generates the vectors of a block, or the members of a tuple."""
    return [builder.extract_value(aggregate, index) for index in range(len(aggregate.type))]


def integers(values: Sequence[int] | range) -> Any:
    """A constant vector of integers."""
    return ir.Constant(INTS, list(values))


def same(kind: Any, value: float) -> Any:
    """A constant vector of a type, with a number in all lanes."""
    return ir.Constant(kind, [value] * kind.count)


def read(builder: Any, place: Any, kind: Any) -> Any:
    """Generates a load of a vector from a pointer to its first element."""
    bytes_each = {F16: 2, F32: 4}.get(kind.element) or kind.element.width // 8
    return builder.load(builder.bitcast(place, kind.as_pointer()), align=bytes_each)


def add_product(builder: Any, total: Any, left: Any, right: Any) -> Any:
    """Generates total + left * right."""
    return builder.fadd(total, builder.fmul(left, right, flags=FUSED), flags=FUSED)


def splat(builder: Any, scalar: Any) -> Any:
    """Generates a vector with a scalar in all lanes."""
    one = builder.insert_element(ir.Constant(ir.VectorType(scalar.type, LANES), ir.Undefined), scalar, I32(0))
    return builder.shuffle_vector(one, one, integers([0] * LANES))


def constant(n: Any) -> int:
    """The value of an argument that must be known when the body is compiled."""
    if not isinstance(n, types.IntegerLiteral):
        raise RequireLiteralValue(f"this argument must be a constant; got {n}")
    return n.literal_value
