"""Products with weights of four bits, 128 of a row at a time: 64 bytes, one line of cache.

A matrix is `values`, bytes in the order of `formats.base.FourBit`, and `scales`, one per group of 32 or 128. Scales of
float16, whose bits come as int16, go with the integers of `Int4`; those of E8M0, uint8, with E2M1 numbers. Which weight
meets which lane is what costs the fewest instructions. The vector x that they are multiplied by comes in that order, a row
for each 128 columns: as `digits` stores it, or as float32 in the order `FLOAT_COLUMNS` or `E2M1_COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.registry import cpu_target

from . import digits
from .engine import instruction
from .generate import F16, HALVES, I8, I16, I32, INTS, SHORTS, VECTOR, WORD, add_product, constant, pack, read, same, unpack
from .widths import BLOCK, LANES

_BYTES = BLOCK // 2
_BYTES_PER_32 = 16
_UNITS = BLOCK // 32
_NIBBLES = range(4)
"""Of a 16-bit word."""
_LINE = ir.VectorType(I8, _BYTES)


def _column(byte: int, high: int) -> int:
    """Where among the columns of a line the weight stands that is the low or the high half of one of its bytes."""
    return byte // _BYTES_PER_32 * 32 + high * _BYTES_PER_32 + byte % _BYTES_PER_32


def _column_of_word(word: int, nibble: int) -> int:
    """The same for a nibble of a 16-bit word."""
    return _column(2 * word + nibble // 2, nibble % 2)


E2M1_DOUBLED = (0, 1, 2, 3, 4, 6, 8, 12)
"""Magnitudes of E2M1 as integers."""
INT4_OFFSET, E2M1_OFFSET = 8, E2M1_DOUBLED[-1]
"""What is added to weights as integers, so that none is negative."""
_E2M1_TABLE = [E2M1_OFFSET + sign * magnitude for sign in (1, -1) for magnitude in E2M1_DOUBLED]


def multiplies_integers() -> bool:
    """Whether the CPU, as Numba sees it, adds up four products of 8-bit integers in one instruction (AVX-512 VNNI)."""
    context: Any = cpu_target.target_context
    _, _, features = context.codegen().magic_tuple()
    return "+avx512vnni" in features.split(",")


def _integers(count: int, table: Sequence[int] | None) -> Callable[..., list[list[Any]]]:
    """Makes what gives each row the sums of the eight nibbles of each 32-bit word, which stand for what a table says, if any.

    The vector comes as a row of `digits`. From the highest digit on, sums are shifted up and the next digit's products
    added: that is exact.
    """

    def sums_of(builder: Any, places: Sequence[Any], x: Any) -> list[list[Any]]:
        kind = ir.FunctionType(INTS, [INTS, INTS, INTS])
        add_products = builder.module.declare_intrinsic("llvm.x86.avx512.vpdpbusd.512", (), kind)
        low = same(_LINE, 15)
        lines = [read(builder, place, _LINE) for place in places]
        shifted = [builder.bitcast(builder.lshr(builder.bitcast(line, INTS), same(INTS, 4)), _LINE) for line in lines]
        halves = [[builder.and_(part, low) for part in pair] for pair in zip(lines, shifted, strict=True)]
        if table:
            halves = [[_looked_up(builder, table, half) for half in pair] for pair in halves]
        offset = read(builder, builder.gep(x, [I32(digits.offsets_at(count))]), INTS)
        sums = [offset if count == 1 else same(INTS, 0)] * len(places)
        for digit in range(count):
            starts = [digit * BLOCK + half * _BYTES for half in (0, 1)]
            factors = [read(builder, builder.gep(x, [I32(start)]), INTS) for start in starts]
            if digit:
                sums = [builder.shl(one, same(INTS, digits.BITS)) for one in sums]
            if 0 < digit == count - 1:
                sums = [builder.add(one, offset) for one in sums]
            for row, pair in enumerate(halves):
                for half, factor in zip(pair, factors, strict=True):
                    sums[row] = builder.call(add_products, [sums[row], builder.bitcast(half, INTS), factor])
        return [[builder.sitofp(one, VECTOR) for one in sums]]

    return sums_of


def _looked_up(builder: Any, table: Sequence[int], codes: Any) -> Any:
    look_up = builder.module.declare_intrinsic("llvm.x86.avx512.pshuf.b.512", (), ir.FunctionType(_LINE, [_LINE, _LINE]))
    return builder.call(look_up, [ir.Constant(_LINE, [*table] * (_BYTES // len(table))), codes])


_WORD_NIBBLES = range(8)
_LOW = 5
"""Nibbles of a 32-bit word that lie whole within the significand of a float32; the others are moved down by 12 bits."""
_SHIFTS = [4 * nibble if nibble < _LOW else 4 * nibble - 12 for nibble in _WORD_NIBBLES]
FLOAT_COLUMNS = [_column(4 * lane + nibble // 2, nibble % 2) for nibble in _WORD_NIBBLES for lane in range(LANES)]
"""The column that belongs to each place among 128 where x is float32 and the weights are integers."""
FLOAT_FACTORS = [2.0**-shift for shift in _SHIFTS for _ in range(LANES)]
"""What x is to be multiplied by in each place: integers come out as larger by powers of two."""


def _int4_floats(builder: Any, places: Sequence[Any], x: Any) -> list[list[Any]]:
    """For each row the sums of the eight nibbles of each 32-bit word.

    With the exponent of 2^23 above it, a nibble n at bit b of a word is 2^23 + n 2^b as a float32. What is taken off
    leaves (n - 8) 2^b, exactly.
    """
    words = [read(builder, place, INTS) for place in places]
    sums = [same(VECTOR, -0.0)] * len(places)
    for nibble, shift in enumerate(_SHIFTS):
        if nibble == _LOW:
            words = [builder.lshr(word, same(INTS, 12)) for word in words]
        factor = read(builder, builder.gep(x, [I32(nibble * LANES)]), VECTOR)
        for row, word in enumerate(words):
            bits = builder.or_(builder.and_(word, same(INTS, 15 << shift)), same(INTS, 0x4B000000))
            number = builder.fsub(builder.bitcast(bits, VECTOR), same(VECTOR, float(2**23 + (8 << shift))))
            sums[row] = add_product(builder, sums[row], number, factor)
    return [sums]


E2M1_COLUMNS = [_column_of_word(half + word, nibble) for half in (0, LANES) for nibble in _NIBBLES for word in range(LANES)]
"""The column that belongs to each place among 128 where the weights are E2M1."""
E2M1_UNIT = 2.0**14
"""What products with E2M1 numbers are to be multiplied by."""


def _e2m1_floats(builder: Any, places: Sequence[Any], x: Any) -> list[list[Any]]:
    """For each row the sums of the four numbers of each 16-bit word, in two halves of the line, times 2^-14.

    Their bits are moved to their places in a float16, whose exponents are 14 larger; its subnormals are theirs too.
    """
    halves = []
    for half in (0, 1):
        words = [read(builder, builder.gep(place, [I32(half * _BYTES // 2)]), SHORTS) for place in places]
        sums = [same(VECTOR, -0.0)] * len(places)
        for nibble in _NIBBLES:
            factor = read(builder, builder.gep(x, [I32(half * BLOCK // 2 + nibble * LANES)]), VECTOR)
            for row, word in enumerate(words):
                top = builder.shl(word, same(SHORTS, 12 - 4 * nibble))
                # The sign stays where it is, and is copied to places that must be empty.
                bits = builder.and_(builder.ashr(top, same(SHORTS, 3)), same(SHORTS, 0x8E00))
                number = builder.fpext(builder.bitcast(bits, HALVES), VECTOR)
                sums[row] = add_product(builder, sums[row], number, factor)
        halves.append(sums)
    return halves


def _float16_scales(builder: Any, place: Any, groups: int) -> Any:
    return builder.fpext(read(builder, place, ir.VectorType(F16, groups)), ir.VectorType(ir.FloatType(), groups))


def _e8m0_scales(builder: Any, place: Any, groups: int) -> Any:
    """The exponent of a float32 as it is stored. NaN becomes infinity, by which its zeros are NaN."""
    kind = ir.VectorType(I32, groups)
    exponents = builder.zext(read(builder, place, ir.VectorType(I8, groups)), kind)
    return builder.bitcast(builder.shl(exponents, same(kind, 23)), ir.VectorType(ir.FloatType(), groups))


class _Matrix:
    """Values and scales of a matrix while code is generated."""

    def __init__(self, context: Any, builder: Any, kinds: Sequence[Any], values: Sequence[Any], group: int, count: int) -> None:
        self.builder, self.groups, self.digits = builder, BLOCK // group, count
        self.bytes, self.scales = (
            context.make_array(kind)(context, builder, value) for kind, value in zip(kinds, values, strict=True)
        )
        is_e8m0 = kinds[1].dtype == types.uint8
        self.scales_of, self.scale_type = (_e8m0_scales, I8) if is_e8m0 else (_float16_scales, I16)
        if count:
            self.products = _integers(count, _E2M1_TABLE if is_e8m0 else None)
        else:
            self.products = _e2m1_floats if is_e8m0 else _int4_floats

    def places(self, row: Any, block: Any) -> tuple[Any, Any]:
        """Pointers to the bytes and to the scales of a block."""

        def place(array: Any, each: int) -> Any:
            width = unpack(self.builder, array.shape)[1]
            start = self.builder.mul(block, WORD(each))
            return self.builder.gep(array.data, [self.builder.add(self.builder.mul(row, width), start)])

        return place(self.bytes, _BYTES), place(self.scales, self.groups)

    def padded(self, row: Any, block: Any) -> tuple[Any, Any]:
        """Pointers to copies of what there is of a last block, followed by zeros."""
        builder, places = self.builder, self.places(row, block)
        starts = []
        for array, place, size, kind in (
            (self.bytes, places[0], _BYTES, I8),
            (self.scales, places[1], self.groups, self.scale_type),
        ):
            room = ir.ArrayType(kind, size)
            copy = cgutils.alloca_once(builder, room)
            builder.store(ir.Constant(room, None), copy)
            start = builder.bitcast(copy, kind.as_pointer())
            valid = builder.sub(unpack(builder, array.shape)[1], builder.mul(block, WORD(size)))
            with cgutils.for_range(builder, valid) as loop:
                builder.store(builder.load(builder.gep(place, [loop.index])), builder.gep(start, [loop.index]))
            starts.append(start)
        return starts[0], starts[1]

    def add_products(self, totals: Sequence[Any], places: Sequence[tuple[Any, Any]], x: Any) -> list[Any]:
        """Adds the products of a block of each row with x, times their scales.

        All rows at a time, so that what is loaded of x is loaded once.
        """
        scales = [self.scales_of(self.builder, place, self.groups) for _, place in places]
        groups = self.groups
        if self.digits:
            groups, scales = _UNITS, self._in_units(scales, x)
        parts = self.products(self.builder, [place for place, _ in places], x)
        for number, sums in enumerate(parts):
            first, each = number * groups // len(parts), LANES * len(parts) // groups
            lanes = ir.Constant(INTS, [first + lane // each for lane in range(LANES)])
            spread = [self.builder.shuffle_vector(one, one, lanes) for one in scales]
            totals = [add_product(self.builder, *terms) for terms in zip(totals, sums, spread, strict=True)]
        return list(totals)

    def _in_units(self, scales: Sequence[Any], x: Any) -> list[Any]:
        """The scales of each 32 columns, times the units of the vector there."""
        units = read(
            self.builder, self.builder.gep(x, [I32(digits.units_at(self.digits))]), ir.VectorType(ir.FloatType(), _UNITS)
        )
        each = ir.Constant(ir.VectorType(I32, _UNITS), [index * self.groups // _UNITS for index in range(_UNITS)])
        return [self.builder.fmul(self.builder.shuffle_vector(one, one, each), units) for one in scales]


def _products(places: Callable[[_Matrix, Any, Any], tuple[Any, Any]]) -> Callable[..., Any]:
    def add(_typing: Any, total: Any, values: Any, scales: Any, rows: Any, block: Any, x: Any, group: Any, count: Any) -> Any:
        size, number = constant(group), constant(count)

        def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            totals, *arrays, rows, block, x, _, _ = arguments
            matrix = _Matrix(context, builder, signature.args[1:3], arrays, size, number)
            made = context.make_array(signature.args[5])(context, builder, x)
            start = builder.mul(block, unpack(builder, made.shape)[1])
            blocks = [places(matrix, row, block) for row in unpack(builder, rows)]
            return pack(builder, matrix.add_products(unpack(builder, totals), blocks, builder.gep(made.data, [start])))

        return total(total, values, scales, rows, types.int64, x, group, count), generate

    return instruction(add)


add_products = _products(_Matrix.places)
"""`add_products(total, values, scales, rows, block, x, group, count)` adds to each vector of `total` the products of a block
of 128 columns of a row with row `block` of `x`, which is in `count` digits, or float32 if that is 0. Both are constants."""
add_last_products = _products(_Matrix.padded)
"""The same for the last block of rows that end before it does."""
