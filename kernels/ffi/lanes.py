"""Explicit vectors for kernel bodies: blocks of sixteen-lane float32 vectors, and how they come from memory.

Sixteen lanes are one register with AVX-512, two with AVX, four with NEON; LLVM splits them as the CPU needs.
A body that says what is a vector does not depend on the compiler to find out, and needs no fast-math: NaN and
infinity keep their meaning.

A matrix is read 32 columns at a time, as a pair of vectors for each row. Numba knows few narrow floats, so a bfloat16
is a uint16 here, a float16 an int16, and an FP8 E4M3 a uint8. Of bfloat16 and FP8 the pair holds the even and the
odd columns: both widen with a cheap instruction or two from the same words, where a pair of consecutive halves would
take shuffles more. `arranged` brings other operands into the same order. What is loaded of FP8 is to be multiplied by
`unit_of`. Every array is C-contiguous; `rows` is a tuple of row numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np import arrayobj

from .engine import instruction
from .generate import (
    BYTES,
    F32,
    HALVES,
    I32,
    INTS,
    SHORTS,
    VECTOR,
    WORD,
    Block,
    constant,
    integers,
    pack,
    read,
    same,
    splat,
    unpack,
)
from .widths import LANES, PAIR

_LINE_BYTES, _SECOND_LEVEL = 64, 2


def _single(builder: Any, place: Any) -> list[Any]:
    return [read(builder, builder.gep(place, [I32(offset)]), VECTOR) for offset in (0, LANES)]


def _half(builder: Any, place: Any) -> list[Any]:
    parts = [read(builder, builder.gep(place, [I32(offset)]), SHORTS) for offset in (0, LANES)]
    return [builder.fpext(builder.bitcast(part, HALVES), VECTOR) for part in parts]


def _bfloat(builder: Any, place: Any) -> list[Any]:
    words = read(builder, place, INTS)
    even, odd = builder.shl(words, same(INTS, 16)), builder.and_(words, same(INTS, 0xFFFF0000))
    return [builder.bitcast(even, VECTOR), builder.bitcast(odd, VECTOR)]


def _integer(builder: Any, place: Any) -> list[Any]:
    parts = [read(builder, builder.gep(place, [I32(offset)]), BYTES) for offset in (0, LANES)]
    return [builder.sitofp(builder.sext(part, INTS), VECTOR) for part in parts]


def _e4m3(builder: Any, place: Any) -> list[Any]:
    """The bits moved to their places in a float16, whose exponents are 8 larger; its subnormals are theirs too.

    NaN would become 480: in every format with such numbers, their scale is NaN then.
    """
    odd = read(builder, place, SHORTS)
    even = builder.shl(odd, same(SHORTS, 8))
    # The sign stays where it is, and is copied to a place that must be empty.
    moved = [builder.and_(builder.ashr(part, same(SHORTS, 1)), same(SHORTS, 0xBF80)) for part in (even, odd)]
    return [builder.fpext(builder.bitcast(part, HALVES), VECTOR) for part in moved]


_PAIRS = {types.float32: _single, types.uint16: _bfloat, types.int16: _half, types.int8: _integer, types.uint8: _e4m3}
_INTERLEAVED = (types.uint16, types.uint8)


class _Source:
    """An array argument while code is generated."""

    def __init__(self, context: Any, builder: Any, kind: Any, value: Any) -> None:
        if kind.dtype not in _PAIRS:
            raise TypeError(f"lanes are read from float32, int8, or the bits of bfloat16, float16 or FP8; got {kind.dtype}")
        self.builder, self.item, self.widened = builder, context.get_data_type(kind.dtype), _PAIRS[kind.dtype]
        made = context.make_array(kind)(context, builder, value)
        self.data, self.shape = made.data, unpack(builder, made.shape)

    def place(self, row: Any, column: Any) -> Any:
        """Pointer to an element of a matrix."""
        return self.builder.gep(self.data, [self.builder.add(self.builder.mul(row, self.shape[1]), column)])

    def pair(self, place: Any) -> list[Any]:
        """The 32 elements from a pointer on."""
        return self.widened(self.builder, place)

    def pair_of(self, place: Any, valid: Any) -> list[Any]:
        """The first `valid` elements from a pointer on, and zeros to make 32."""
        builder, room = self.builder, ir.ArrayType(self.item, PAIR)
        padded = cgutils.alloca_once(builder, room)
        builder.store(ir.Constant(room, None), padded)
        start = builder.bitcast(padded, self.item.as_pointer())
        with cgutils.for_range(builder, valid) as loop:
            builder.store(builder.load(builder.gep(place, [loop.index])), builder.gep(start, [loop.index]))
        return self.pair(start)


@instruction
def rows_apart(_typing: Any, first: Any, apart: Any, last: Any, groups: Any, each: Any) -> Any:
    """Row numbers in `groups` of `each` neighbours; the groups begin `apart` rows from each other.

    None is beyond `last`. `groups` and `each` are constants.
    """
    count, size = constant(groups), constant(each)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        first, apart, last = values[:3]
        starts = [builder.add(first, builder.mul(apart, WORD(group))) for group in range(count)]
        rows = [builder.add(start, WORD(offset)) for start in starts for offset in range(size)]
        rows = [builder.select(builder.icmp_signed("<", row, last), row, last) for row in rows]
        return context.make_tuple(builder, signature.return_type, rows)

    word = types.int64
    return types.UniTuple(word, count * size)(word, word, word, groups, each), generate


@instruction
def scratch(_typing: Any, size: Any) -> Any:
    """A float32 array of constant size on the stack of the running thread; not initialised, gone with the body."""
    count = constant(size)
    kind = types.Array(types.float32, 1, "C")

    def generate(context: Any, builder: Any, _signature: Any, _values: Any) -> Any:
        room = cgutils.alloca_once(builder, ir.ArrayType(F32, count))
        made = context.make_array(kind)(context, builder)
        shape, strides = ([WORD(value)] for value in (count, 4))
        arrayobj.populate_array(made, builder.bitcast(room, F32.as_pointer()), shape, strides, WORD(4), meminfo=None)
        return made._getvalue()

    return kind(size), generate


@instruction
def load_pairs(_typing: Any, matrix: Any, rows: Any, column: Any, n: Any) -> Any:
    """`n` pairs from a column on, of each row in turn; `n` is a constant."""
    pairs = constant(n)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        columns = [builder.add(values[2], WORD(index * PAIR)) for index in range(pairs)]
        places = [source.place(row, column) for row in unpack(builder, values[1]) for column in columns]
        return pack(builder, [vector for place in places for vector in source.pair(place)])

    return Block(2 * pairs * rows.count)(matrix, rows, types.int64, n), generate


@instruction
def load_last_pairs(_typing: Any, matrix: Any, rows: Any, column: Any) -> Any:
    """One pair of each row: the elements from a column to the end, fewer than 32, and zeros in their place."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        valid = builder.sub(source.shape[1], values[2])
        places = [source.place(row, values[2]) for row in unpack(builder, values[1])]
        return pack(builder, [vector for place in places for vector in source.pair_of(place, valid)])

    return Block(2 * rows.count)(matrix, rows, types.int64), generate


@instruction
def load_block_scales(_typing: Any, scales: Any, rows: Any, block: Any, band: Any) -> Any:
    """For each row, the float32 scale of one of its blocks in all lanes; `band` rows, a constant, share theirs."""
    size = constant(band)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        places = [source.place(builder.udiv(row, WORD(size)), values[2]) for row in unpack(builder, values[1])]
        return pack(builder, [splat(builder, builder.load(place)) for place in places])

    return Block(rows.count)(scales, rows, types.int64, band), generate


@instruction
def store_pairs(_typing: Any, matrix: Any, rows: Any, column: Any, block: Any) -> Any:
    """Writes equally many pairs into each row of a float32 matrix, from a column on, as they are."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        vectors = iter(unpack(builder, values[3]))
        for row in unpack(builder, values[1]):
            for index in range(block.count // rows.count):
                place = source.place(row, builder.add(values[2], WORD(index * LANES)))
                builder.store(next(vectors), builder.bitcast(place, VECTOR.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(matrix, rows, types.int64, block), generate


@instruction
def prefetch_pairs(_typing: Any, matrix: Any, rows: Any, column: Any, n: Any) -> Any:
    """Asks for the memory of what `load_pairs` would load, which need not exist, to come to the second-level cache.

    Not to the first: few requests can be on their way there, and those that find no room are dropped.
    """
    elements = constant(n) * PAIR

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        line = _LINE_BYTES * 8 // signature.args[0].dtype.bitwidth
        columns = [builder.add(values[2], WORD(offset)) for offset in range(0, elements, line)]
        for place in (source.place(row, column) for row in unpack(builder, values[1]) for column in columns):
            pointer = builder.bitcast(place, ir.IntType(8).as_pointer())
            kind = ir.FunctionType(ir.VoidType(), [pointer.type, I32, I32, I32])
            fetch = builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], kind)
            builder.call(fetch, [pointer, I32(0), I32(_SECOND_LEVEL), I32(1)])
        return context.get_dummy_value()

    return types.void(matrix, rows, types.int64, n), generate


@instruction
def arranged(_typing: Any, block: Any, like: Any) -> Any:
    """Pairs of 32 consecutive elements, in the order in which pairs of the array `like` are loaded."""
    return block(block, like), _reorder_pairs(like, [range(0, PAIR, 2), range(1, PAIR, 2)])


@instruction
def consecutive(_typing: Any, block: Any, like: Any) -> Any:
    """The inverse of `arranged`."""
    zipped = [LANES * (index % 2) + index // 2 for index in range(PAIR)]
    return block(block, like), _reorder_pairs(like, [zipped[:LANES], zipped[LANES:]])


def _reorder_pairs(like: Any, orders: Sequence[Sequence[int]]) -> Any:
    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        vectors = unpack(builder, values[0])
        if like.dtype in _INTERLEAVED:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            vectors = [builder.shuffle_vector(*pair, integers(order)) for pair in pairs for order in orders]
        return pack(builder, vectors)

    return generate


@instruction
def load(_typing: Any, array: Any, index: Any) -> Any:
    """One vector of sixteen elements of a float32 array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        place = builder.bitcast(builder.gep(source.data, [values[1]]), VECTOR.as_pointer())
        return pack(builder, [builder.load(place, align=4)])

    return Block(1)(array, types.int64), generate


@instruction
def store(_typing: Any, array: Any, index: Any, block: Any) -> Any:
    """Writes one vector into a float32 array."""

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        place = builder.bitcast(builder.gep(source.data, [values[1]]), VECTOR.as_pointer())
        builder.store(unpack(builder, values[2])[0], place, align=4)
        return context.get_dummy_value()

    return types.void(array, types.int64, block), generate


@instruction
def load_splats(_typing: Any, array: Any, index: Any, step: Any, n: Any) -> Any:
    """`n` elements of a float32 array, from `index` on in steps of `step`, each in all lanes of its vector."""
    count = constant(n)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = _Source(context, builder, signature.args[0], values[0])
        indices = [builder.add(values[1], builder.mul(values[2], WORD(each))) for each in range(count)]
        return pack(builder, [splat(builder, builder.load(builder.gep(source.data, [each]))) for each in indices])

    return Block(count)(array, types.int64, types.int64, n), generate
