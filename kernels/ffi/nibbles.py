"""Products with weights of four bits, 128 of a row at a time: 64 bytes, one line of cache.

A matrix is `values`, bytes in the order of `formats.base.FourBit`, and `scales`, one per group of 32 or 128. Scales of
float16, whose bits come as int16, go with the integers of `Int4`; those of E8M0, uint8, with E2M1 numbers. Which weight
meets which lane is what costs the fewest instructions, and `arrangement` brings the vector that they are multiplied by
into the same order, times the powers of two that decoding leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils

from .engine import instruction
from .generate import F16, HALVES, I8, I16, I32, INTS, SHORTS, VECTOR, WORD, add_product, constant, pack, read, same, unpack
from .widths import LANES

COLUMNS = 128
"""Weights of a row that are taken at a time."""
_BYTES = COLUMNS // 2
_BYTES_PER_32 = 16


def arrangement(scales_are_e8m0: bool) -> tuple[list[int], list[float]]:
    """Of each place among 128 columns, the column that belongs there and the factor of its number in the vector."""
    places = _E2M1_PLACES if scales_are_e8m0 else _INT4_PLACES
    return [_column(byte, high) for byte, high, _ in places], [factor for _, _, factor in places]


def _column(byte: int, high: int) -> int:
    return byte // _BYTES_PER_32 * 32 + high * _BYTES_PER_32 + byte % _BYTES_PER_32


# A byte's number in the line, which half of it, and the factor: vector by vector, lane by lane.

_NIBBLES = range(8)
_LOW = 5
"""Nibbles of a 32-bit word that lie within the significand of a float32 whole."""


def _int4_shift(nibble: int) -> int:
    """Where a nibble stands once those that are not among the low ones have been moved down by 12 bits."""
    return 4 * nibble if nibble < _LOW else 4 * nibble - 12


_INT4_PLACES = [
    (4 * lane + nibble // 2, nibble % 2, 2.0 ** -_int4_shift(nibble)) for nibble in _NIBBLES for lane in range(LANES)
]


def _int4(builder: Any, place: Any) -> list[list[Any]]:
    """The eight integers of each 32-bit word, times the powers of two of their places.

    With the exponent of 2^23 above it, a nibble n at bit b of a word is 2^23 + n 2^b as a float32. What is taken off
    leaves (n - 8) 2^b, exactly.
    """
    words = read(builder, place, INTS)
    moved = builder.lshr(words, same(INTS, 12))
    found = []
    for nibble in _NIBBLES:
        shift = _int4_shift(nibble)
        bits = builder.and_(words if nibble < _LOW else moved, same(INTS, 15 << shift))
        above = builder.bitcast(builder.or_(bits, same(INTS, 0x4B000000)), VECTOR)
        found.append(builder.fsub(above, same(VECTOR, float(2**23 + (8 << shift)))))
    return [found]


_SHORT_NIBBLES = range(4)
_E2M1_PLACES = [
    (2 * (LANES * half + lane) + nibble // 2, nibble % 2, 2.0**14)
    for half in (0, 1)
    for nibble in _SHORT_NIBBLES
    for lane in range(LANES)
]


def _e2m1(builder: Any, place: Any) -> list[list[Any]]:
    """The four numbers of each 16-bit word, in two halves of the line, times 2^-14.

    Their bits are moved to their places in a float16, whose exponents are 14 larger; its subnormals are theirs too.
    """
    halves = []
    for half in (0, 1):
        words = read(builder, builder.gep(place, [I32(half * _BYTES // 2)]), SHORTS)
        found = []
        for nibble in _SHORT_NIBBLES:
            top = builder.shl(words, same(SHORTS, 12 - 4 * nibble))
            # The sign stays where it is, and is copied to places that must be empty.
            bits = builder.and_(builder.ashr(top, same(SHORTS, 3)), same(SHORTS, 0x8E00))
            found.append(builder.fpext(builder.bitcast(bits, HALVES), VECTOR))
        halves.append(found)
    return halves


def _float16_scales(builder: Any, place: Any, groups: int) -> Any:
    kind = ir.VectorType(F16, groups)
    return builder.fpext(read(builder, place, kind), ir.VectorType(ir.FloatType(), groups))


def _e8m0_scales(builder: Any, place: Any, groups: int) -> Any:
    """The exponent of a float32 as it is stored. NaN becomes infinity, by which its zeros are NaN."""
    kind = ir.VectorType(I32, groups)
    exponents = builder.zext(read(builder, place, ir.VectorType(I8, groups)), kind)
    return builder.bitcast(builder.shl(exponents, same(kind, 23)), ir.VectorType(ir.FloatType(), groups))


class _Matrix:
    """Values and scales of a matrix while code is generated."""

    def __init__(self, context: Any, builder: Any, kinds: Sequence[Any], values: Sequence[Any], group: int) -> None:
        self.builder, self.groups = builder, COLUMNS // group
        self.bytes, self.scales = (
            context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, values, strict=True)
        )
        is_e8m0 = kinds[1].dtype == types.uint8
        self.decode, self.decode_scales, self.scale_type = (
            (_e2m1, _e8m0_scales, I8) if is_e8m0 else (_int4, _float16_scales, I16)
        )

    def places(self, row: Any, block: Any) -> tuple[Any, Any]:
        """Pointers to the bytes and to the scales of a block."""

        def place(array: Any, each: int) -> Any:
            width = unpack(self.builder, array.shape)[1]
            start = self.builder.mul(block, WORD(each))
            return self.builder.gep(array.data, [self.builder.add(self.builder.mul(row, width), start)])

        return place(self.bytes, _BYTES), place(self.scales, self.groups)

    def padded(self, row: Any, block: Any) -> tuple[Any, Any]:
        """Pointers to copies of what there is of a last block, followed by zeros."""
        places, sizes, kinds = self.places(row, block), (_BYTES, self.groups), (I8, self.scale_type)
        starts = []
        for array, place, size, kind in zip((self.bytes, self.scales), places, sizes, kinds, strict=True):
            builder, room = self.builder, ir.ArrayType(kind, size)
            copy = cgutils.alloca_once(builder, room)
            builder.store(ir.Constant(room, None), copy)
            start = builder.bitcast(copy, kind.as_pointer())
            valid = builder.sub(unpack(builder, array.shape)[1], builder.mul(block, WORD(size)))
            with cgutils.for_range(builder, valid) as loop:
                builder.store(builder.load(builder.gep(place, [loop.index])), builder.gep(start, [loop.index]))
            starts.append(start)
        return starts[0], starts[1]

    def add_products(self, total: Any, places: tuple[Any, Any], x: Sequence[Any]) -> Any:
        """Adds the products of a block with the eight vectors of x, times their scales."""
        builder, factors = self.builder, iter(x)
        scales = self.decode_scales(builder, places[1], self.groups)
        parts = self.decode(builder, places[0])
        for number, part in enumerate(parts):
            products = builder.fmul(part[0], next(factors))
            for weights in part[1:]:
                products = add_product(builder, products, weights, next(factors))
            first, each = number * self.groups // len(parts), LANES * len(parts) // self.groups
            lanes = [first + lane // each for lane in range(LANES)]
            spread = builder.shuffle_vector(scales, scales, ir.Constant(INTS, lanes))
            total = add_product(builder, total, products, spread)
        return total


def _products(places: Callable[[_Matrix, Any, Any], tuple[Any, Any]]) -> Callable[..., Any]:
    def add(_typing: Any, total: Any, values: Any, scales: Any, rows: Any, block: Any, x: Any, group: Any) -> Any:
        size = constant(group)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            totals, *arrays, rows, block, x, _ = arguments
            matrix = _Matrix(context, builder, signature.args[1:3], arrays, size)
            start = builder.mul(block, WORD(COLUMNS))
            data = context.make_array(signature.args[5])(context, builder, x).data
            offsets = [builder.add(start, WORD(offset)) for offset in range(0, COLUMNS, LANES)]
            vectors = [read(builder, builder.gep(data, [offset]), VECTOR) for offset in offsets]
            pairs = zip(unpack(builder, totals), unpack(builder, rows), strict=True)
            return pack(builder, [matrix.add_products(one, places(matrix, row, block), vectors) for one, row in pairs])

        return total(total, values, scales, rows, types.int64, x, group), generate

    return instruction(add)


add_products = _products(_Matrix.places)
"""`add_products(total, values, scales, rows, block, x, group)` adds to each vector of `total` the products of a block of
128 columns of a row with `x`, a float32 array in the order of `arrangement`, lane by lane. `group` is a constant."""
add_last_products = _products(_Matrix.padded)
"""The same for the last block of rows that end before it does."""
