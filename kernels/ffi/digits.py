"""A vector as small integers, which weights of four bits are multiplied with. See `nibbles`.

Each group of 32 numbers has a unit of its own, of which every number is a multiple, and the multiples are written in one to
three digits of 8 bits with a sign each. So a number keeps 7, 15 or 23 bits of the largest of its group, but for the rounding of
float32.

A block of 128 numbers is a row of bytes. For each digit from the highest on, there are 64 bytes that meet the low halves of a
line of weights, and 64 that meet the high ones. They are followed by an int32 for each of the 16 lanes, which makes up for what
is added to the weights so that none is negative; by the units, a float32 for each group; and by zeros to a whole line.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types

from .engine import instruction
from .generate import F32, I8, I32, INTS, VECTOR, constant, integers, read, same, splat, unpack
from .widths import BLOCK, LANES

BITS = 8
_GROUP = 32
_GROUPS = BLOCK // _GROUP
_LINE_BYTES = 64
_LEAST = 2.0**-100
"""The largest number of a group counts as no less, so that no unit is subnormal."""
_BYTE_LANES = ir.VectorType(I8, LANES)


def row_bytes(count: int) -> int:
    """Bytes of a block in so many digits."""
    return count * BLOCK + 2 * _LINE_BYTES


def offsets_at(count: int) -> int:
    """Where in a row the 16 lanes' int32 begin."""
    return count * BLOCK


def units_at(count: int) -> int:
    """Where in a row the units begin."""
    return count * BLOCK + _LINE_BYTES


def bits(count: int) -> int:
    """Bits that the largest number of a group keeps."""
    return BITS * count - 1


def _most(count: int) -> int:
    """The largest integer of a group: each digit is 127 at most, and its own factor may round it up by 2^-23."""
    return round(sum(127 << BITS * place for place in range(count)) * (1 - 2.0**-22))


@instruction
def store(_typing: Any, x: Any, start: Any, rows: Any, row: Any, offset: Any, unit: Any, count: Any) -> Any:
    """Writes the 128 numbers of a float32 array from `start` on into a row of an int8 matrix, in `count` digits, a constant.

    `offset` is what is added to each weight, and units are multiplied by `unit`. A group with NaN or infinity has a unit
    that makes every product NaN.
    """
    digits = constant(count)

    def generate(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        source = context.make_array(signature.args[0])(context, builder, values[0])
        made = context.make_array(signature.args[2])(context, builder, values[2])
        width = unpack(builder, made.shape)[1]
        numbers, place = builder.gep(source.data, [values[1]]), builder.gep(made.data, [builder.mul(values[3], width)])

        def put(value: Any, byte: int) -> None:
            builder.store(value, builder.bitcast(builder.gep(place, [I32(byte)]), value.type.as_pointer()), align=1)

        for group in range(_GROUPS):
            parts = [read(builder, builder.gep(numbers, [I32(group * _GROUP + half * LANES)]), VECTOR) for half in (0, 1)]
            most = _largest_magnitude(builder, parts)
            least = same(VECTOR, _LEAST)
            most = builder.select(builder.fcmp_ordered("<", most, least), least, most)
            factor = builder.fdiv(same(VECTOR, float(_most(digits))), most)
            whole = [_nearest(builder, builder.fmul(part, factor)) for part in parts]
            put(_of_lanes(builder, builder.add(*whole), builder.trunc(values[4], I32)), offsets_at(digits) + 4 * 4 * group)
            rest = whole
            for digit in reversed(range(digits)):
                for half, one in enumerate(rest):
                    put(builder.trunc(one, _BYTE_LANES), digit * BLOCK + half * _LINE_BYTES + group * LANES)
                rest = [builder.ashr(builder.add(one, same(INTS, 1 << BITS - 1)), same(INTS, BITS)) for one in rest]
            one = builder.fdiv(builder.extract_element(most, I32(0)), F32(float(_most(digits))))
            put(builder.fmul(one, values[5]), units_at(digits) + 4 * group)
        return context.get_dummy_value()

    word = types.int64
    return types.void(x, word, rows, word, word, types.float32, count), generate


def _largest_magnitude(builder: Any, parts: Any) -> Any:
    """In all lanes. The bits of magnitudes are ordered as integers, and NaN is the largest."""
    low, high = (builder.and_(builder.bitcast(part, INTS), same(INTS, 0x7FFFFFFF)) for part in parts)
    most, away = builder.select(builder.icmp_signed(">", low, high), low, high), 1
    while away < LANES:
        other = builder.shuffle_vector(most, most, integers([lane ^ away for lane in range(LANES)]))
        most, away = builder.select(builder.icmp_signed(">", most, other), most, other), 2 * away
    return builder.bitcast(most, VECTOR)


def _nearest(builder: Any, numbers: Any) -> Any:
    kind = ir.FunctionType(VECTOR, [VECTOR])
    rounded = builder.call(builder.module.declare_intrinsic("llvm.rint.v16f32", (), kind), [numbers])
    saturating = ir.FunctionType(INTS, [VECTOR])
    return builder.call(builder.module.declare_intrinsic("llvm.fptosi.sat.v16i32.v16f32", (), saturating), [rounded])


def _of_lanes(builder: Any, sums: Any, offset: Any) -> Any:
    """For each of four lanes of a line, minus `offset` times the sum of the numbers that its bytes meet."""
    for away in (1, 2):
        other = builder.shuffle_vector(sums, sums, integers([lane ^ away for lane in range(LANES)]))
        sums = builder.add(sums, other)
    scaled = builder.mul(sums, builder.sub(same(INTS, 0), splat(builder, offset)))
    four = ir.Constant(ir.VectorType(I32, 4), [0, 4, 8, 12])
    return builder.shuffle_vector(scaled, scaled, four)
