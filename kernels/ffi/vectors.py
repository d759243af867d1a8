"""Arithmetic on blocks of vectors. See `lanes`."""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import overload

from .engine import instruction
from .lanes import I32, INTS, VECTOR, Block, constant, integers, pack, splat, unpack
from .widths import LANES

_FUSED = ("contract",)
"""A product and the sum it goes into may be one instruction. Nothing else may be reordered or assumed."""


def _same(value: float) -> Any:
    return ir.Constant(VECTOR, [value] * LANES)


def _larger(builder: Any, left: Any, right: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", left, right), left, right)


def _add_product(builder: Any, total: Any, left: Any, right: Any) -> Any:
    return builder.fadd(total, builder.fmul(left, right, flags=_FUSED), flags=_FUSED)


@instruction
def add_products(_typing: Any, total: Any, left: Any, right: Any) -> Any:
    """`total[i * len(right) + j] += left[i] * right[j]`, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        totals, lefts, rights = (unpack(builder, value) for value in values)
        terms = zip(totals, ((one, other) for one in lefts for other in rights), strict=True)
        return pack(builder, [_add_product(builder, sum_, *factors) for sum_, factors in terms])

    return total(total, left, right), generate


@instruction
def add_pair_products(_typing: Any, total: Any, left: Any, right: Any) -> Any:
    """`total[i * pairs of right + j] += left pair i * right pair j`, both vectors of the pairs, lane by lane."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        totals, lefts, rights = (unpack(builder, value) for value in values)
        for half in (0, 1):
            terms = zip(totals, ((one, other) for one in lefts[half::2] for other in rights[half::2]), strict=True)
            totals = [_add_product(builder, sum_, *factors) for sum_, factors in terms]
        return pack(builder, totals)

    return total(total, left, right), generate


@instruction
def total(_typing: Any, block: Any) -> Any:
    """The sum of all lanes of all vectors, which are a power of two."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        vectors = unpack(builder, values[0])
        while len(vectors) > 1:
            vectors = [builder.fadd(*pair) for pair in zip(vectors[::2], vectors[1::2], strict=True)]
        (vector,), away = vectors, 1
        while away < LANES:
            swapped = builder.shuffle_vector(vector, vector, integers([index ^ away for index in range(LANES)]))
            vector, away = builder.fadd(vector, swapped), 2 * away
        return builder.extract_element(vector, I32(0))

    return types.float32(block), generate


@instruction
def sums(_typing: Any, block: Any) -> Any:
    """One vector whose lane i is the sum over the lanes of vector i; zeros after the last."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        vectors = unpack(builder, values[0])
        vectors += [_same(0.0)] * (LANES - len(vectors))
        while len(vectors) > 1:
            pairs = zip(vectors[::2], vectors[1::2], strict=True)
            halves = [[builder.shuffle_vector(*pair, integers(range(odd, 2 * LANES, 2))) for odd in (0, 1)] for pair in pairs]
            vectors = [builder.fadd(*half) for half in halves]
        return pack(builder, vectors)

    return Block(1)(block), generate


@instruction
def joined(_typing: Any, *blocks: Any) -> Any:
    """The vectors of several blocks in one."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return pack(builder, [vector for block in unpack(builder, values[0]) for vector in unpack(builder, block)])

    return Block(sum(block.count for block in blocks))(types.StarArgTuple.from_types(blocks)), generate


@instruction
def lane(_typing: Any, block: Any, index: Any) -> Any:
    """One lane of one vector."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return builder.extract_element(unpack(builder, values[0])[0], values[1])

    return types.float32(block, types.int64), generate


@instruction
def filled(_typing: Any, value: Any, n: Any) -> Any:
    """`n` vectors with a float32 in all lanes; `n` is a constant."""
    count = constant(n)

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return pack(builder, [splat(builder, values[0])] * count)

    return Block(count)(types.float32, n), generate


@instruction
def larger(_typing: Any, left: Any, right: Any) -> Any:
    """The larger of two numbers in each lane; `right` where one is NaN."""

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        pairs = zip(*(unpack(builder, value) for value in values), strict=True)
        return pack(builder, [_larger(builder, *pair) for pair in pairs])

    return left(left, right), generate


@instruction
def largest_of_every(_typing: Any, block: Any, step: Any) -> Any:
    """In every lane of one vector the largest of its own and those `step`, 2 `step`, ... lanes away, round and round.

    `step` is a constant power of two.
    """
    first = constant(step)

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        vector, away = unpack(builder, values[0])[0], first
        while away < LANES:
            swapped = builder.shuffle_vector(vector, vector, integers([index ^ away for index in range(LANES)]))
            vector, away = _larger(builder, vector, swapped), 2 * away
        return pack(builder, [vector])

    return block(block, step), generate


_LN2_HIGH = 355 / 512
"""ln 2 to nine bits: its products with exponents are exact."""
_ROUNDS = 1.5 * 2**23
"""Added to a small float32, it pushes the fraction out of the significand, whose low bits are then an integer."""
_TAYLOR_DEGREE = 6
_LEAST_EXPONENT = -126.0


@instruction
def exp(_typing: Any, block: Any) -> Any:
    """e^x for x <= 0, to 3e-7 of the value; 0 below 2^-126, and NaN for NaN.

    e^x = 2^n e^r with n the integer nearest to x / ln 2, so that |r| <= ln(2) / 2 and the Taylor series of degree 6
    is off by less than 0.35^7 / 7! = 1.3e-7.
    """

    def one(builder: Any, x: Any) -> Any:
        exponent = builder.fmul(x, _same(1 / math.log(2)))
        vanishes = builder.fcmp_ordered("<", exponent, _same(_LEAST_EXPONENT))
        shifted = builder.fadd(builder.select(vanishes, _same(0.0), exponent), _same(_ROUNDS))
        nearest = builder.fsub(shifted, _same(_ROUNDS))
        rest = _add_product(builder, x, nearest, _same(-_LN2_HIGH))
        rest = _add_product(builder, rest, nearest, _same(_LN2_HIGH - math.log(2)))
        series = _same(1.0)
        for degree in range(_TAYLOR_DEGREE, 0, -1):
            series = _add_product(builder, _same(1.0), series, builder.fmul(rest, _same(1 / degree)))
        exponent_bits = builder.shl(builder.bitcast(shifted, INTS), integers([23] * LANES))
        power = builder.bitcast(builder.add(exponent_bits, integers([127 << 23] * LANES)), VECTOR)
        return builder.select(vanishes, _same(0.0), builder.fmul(series, power))

    def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
        return pack(builder, [one(builder, vector) for vector in unpack(builder, values[0])])

    return block(block), generate


def _lane_by_lane(operation: str) -> Callable[..., Any]:
    @instruction
    def operate(_typing: Any, left: Any, right: Any) -> Any:
        def generate(_context: Any, builder: Any, _signature: Any, values: Any) -> Any:
            pairs = zip(*(unpack(builder, value) for value in values), strict=True)
            return pack(builder, [getattr(builder, operation)(*pair) for pair in pairs])

        return left(left, right), generate

    def implement(left, right):
        if isinstance(left, Block) and left == right:
            return lambda left, right: operate(left, right)
        return None

    return implement


_OPERATIONS = {operator.add: "fadd", operator.sub: "fsub", operator.mul: "fmul", operator.truediv: "fdiv"}
for _operator, _operation in _OPERATIONS.items():
    overload(_operator)(_lane_by_lane(_operation))
