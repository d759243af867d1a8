"""Every number format: how far rounding goes, and how many bytes are truly stored."""

from typing import Any

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from roofcast.kernels import plain
from roofcast.kernels.formats import format_named, format_names, rows
from roofcast.kernels.formats.base import Plain
from roofcast.kernels.gemv import Gemv

REAL = [name for name in format_names() if format_named(name).holds_numbers]
# Magnitudes that any format with a sign and an exponent holds as normal numbers, and zero.
MAGNITUDES = st.one_of(st.just(0.0), st.floats(2.0**-6, 2.0**6, width=32))
VALUES = arrays(np.float32, (4, 64), elements=st.one_of(MAGNITUDES, MAGNITUDES.map(lambda value: -value)))


def _parts(packed: Any) -> list[np.ndarray]:
    return [part for value in packed.values() for part in _parts(value)] if isinstance(packed, dict) else [packed]


@pytest.mark.parametrize("name", REAL)
@given(values=VALUES)
def test_rounding_stays_within_epsilon(name: str, values: np.ndarray) -> None:
    one = format_named(name)
    back = one.unpack(one.pack(values))
    assert back.dtype == np.float64
    assert back.shape == values.shape
    scale = np.abs(values) if isinstance(one, Plain) else np.abs(values).max(-1, keepdims=True)
    assert (np.abs(back - values) <= one.epsilon * scale).all()


@pytest.mark.parametrize("name", REAL)
@given(values=VALUES)
def test_what_was_rounded_once_is_exact(name: str, values: np.ndarray) -> None:
    one = format_named(name)
    once = one.pack(values)
    again = one.pack(one.unpack(once).astype(np.float32))
    np.testing.assert_array_equal(one.unpack(again), one.unpack(once))


@pytest.mark.parametrize("name", format_names())
@pytest.mark.parametrize("shape", [(4, 64), (2, 3, 128)])
def test_declared_bytes_are_stored_bytes_and_leading_axes_stay(name: str, shape: tuple[int, ...]) -> None:
    one = format_named(name)
    parts = _parts(one.pack(np.ones(shape, np.float32)))
    assert one.nbytes(shape) == sum(part.nbytes for part in parts)
    assert all(part.shape[:-1] == shape[:-1] for part in parts)


@pytest.mark.parametrize(("name", "width"), [("f32", 4), ("bf16", 2), ("i32", 4)])
def test_bytes_per_element(name: str, width: int) -> None:
    assert format_named(name).nbytes((3, 5)) == 15 * width
    assert format_named(name).nbytes(()) == width


def test_bf16_is_the_upper_half_of_a_float32_rounded_to_even() -> None:
    one = format_named("bf16")
    values = np.float32([1, 1 + 2**-8, 1 + 3 * 2**-8, -2.0, 3.0e38])
    assert one.pack(values).view(np.uint16).tolist() == [0x3F80, 0x3F80, 0x3F82, 0xC000, 0x7F62]
    # The tie between 1 and its neighbour is the largest relative error there is.
    assert 0.99 * one.epsilon < abs(one.unpack(one.pack(values))[1] / values[1] - 1) < one.epsilon


@given(values=st.lists(st.integers(0, 2**31 - 1), min_size=1))
def test_indices_are_exact(values: list[int]) -> None:
    one = format_named("i32")
    assert one.unpack(one.pack(np.asarray(values, np.float64))).tolist() == values
    assert not one.holds_numbers


def test_rows_of_packed_values_are_rows_of_all_their_arrays() -> None:
    values = np.arange(12.0).reshape(4, 3)
    packed = {"values": values, "scales": values[:, :1]}
    part = rows(packed, np.array([3, 0]))
    assert part["values"].tolist() == [[9, 10, 11], [0, 1, 2]]
    assert part["scales"].tolist() == [[9], [0]]
    assert rows(values, slice(1, 2)).tolist() == [[3, 4, 5]]


def test_a_format_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(KeyError, match=r"format must be one of bf16.*f32.*; got 'bf17'"):
        format_named("bf17")


def test_a_format_of_several_arrays_is_not_plain() -> None:
    assert plain.refusal(Gemv(n=2, k=2, weight_format="bf16")) is None
    assert plain.dtype_of("bf16") == ml_dtypes.bfloat16
    assert plain.refusal(Gemv(n=2, k=2, weight_format="int8")) == "weight is int8, which is not one array of one dtype"
    with pytest.raises(TypeError, match="got 'int8'"):
        plain.dtype_of("int8")
