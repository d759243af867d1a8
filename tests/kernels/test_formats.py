"""Every number format: how far rounding goes, and how many bytes are truly stored."""

import re
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from roofcast.kernels import plain
from roofcast.kernels.decoded import decoded, decoded_row
from roofcast.kernels.formats import format_named, format_names, rows
from roofcast.kernels.formats.base import Format, FourBit, Plain
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.model import Formats

REAL = format_names("weight")
# Magnitudes that any format with a sign and an exponent holds as normal numbers, and zero.
MAGNITUDES = st.one_of(st.just(0.0), st.floats(2.0**-6, 2.0**6, width=32))
VALUES = arrays(np.float32, (2, 128), elements=st.one_of(MAGNITUDES, MAGNITUDES.map(lambda value: -value)))


def _parts(packed: Any) -> list[np.ndarray]:
    return [part for value in packed.values() for part in _parts(value)] if isinstance(packed, dict) else [packed]


def _largest_in_group(one: Format, magnitudes: np.ndarray) -> np.ndarray:
    """What the error of each element is relative to: itself, or the largest that shares its scale."""
    if isinstance(one, Plain):
        return magnitudes
    if one.band > 1:
        return np.broadcast_to(magnitudes.max(), magnitudes.shape)
    group = one.group if isinstance(one, FourBit) else magnitudes.shape[-1]
    groups = magnitudes.reshape(*magnitudes.shape[:-1], -1, group)
    return np.broadcast_to(groups.max(-1, keepdims=True), groups.shape).reshape(magnitudes.shape)


@pytest.mark.parametrize("name", REAL)
@given(values=VALUES)
def test_rounding_stays_within_epsilon(name: str, values: np.ndarray) -> None:
    one = format_named(name)
    back = one.unpack(one.pack(values))
    assert back.dtype == np.float64
    assert back.shape == values.shape
    assert (np.abs(back - values) <= one.epsilon * _largest_in_group(one, np.abs(values))).all()


@pytest.mark.parametrize("name", REAL)
@given(values=VALUES)
def test_what_was_rounded_once_is_exact(name: str, values: np.ndarray) -> None:
    one = format_named(name)
    once = one.pack(values)
    again = one.pack(one.unpack(once).astype(np.float32))
    np.testing.assert_array_equal(one.unpack(again), one.unpack(once))


@pytest.mark.parametrize("name", format_names())
@pytest.mark.parametrize("shape", [(4, 128), (2, 3, 256), (130, 128), (5, 7), (5,)])
def test_declared_bytes_are_stored_bytes_or_the_shape_is_refused(name: str, shape: tuple[int, ...]) -> None:
    one = format_named(name)
    if reason := one.refuses(shape):
        with pytest.raises(ValueError, match=re.escape(reason)):
            one.pack(np.ones(shape, np.float32))
    else:
        packed = one.pack(np.ones(shape, np.float32))
        assert one.nbytes(shape) == sum(part.nbytes for part in _parts(packed))
        assert one.unpack(packed).shape == shape


@pytest.mark.parametrize(("name", "width"), [("f32", 4), ("bf16", 2), ("f16", 2), ("i32", 4)])
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
    assert not one.roles


def test_rows_of_packed_values_are_rows_of_all_their_arrays() -> None:
    values = np.arange(12.0).reshape(4, 3)
    packed = {"values": values, "scales": values[:, :1]}
    part = rows(packed, np.array([3, 0]))
    assert part["values"].tolist() == [[9, 10, 11], [0, 1, 2]]
    assert part["scales"].tolist() == [[9], [0]]
    assert rows(values, slice(1, 2)).tolist() == [[3, 4, 5]]


@pytest.mark.parametrize(
    ("name", "bits"),
    [("int8", 8.25), ("fp8", 8.25), ("fp8_block", 8.001953125), ("int4", 4.5), ("int4_g128", 4.125), ("mxfp4", 4.25)],
)
def test_bits_per_weight_with_scales(name: str, bits: float) -> None:
    assert 8 * format_named(name).nbytes((256, 128)) / (256 * 128) == bits


def test_int4_is_two_to_a_byte_the_second_half_of_32_above_the_first() -> None:
    values = np.arange(32, dtype=np.float32) % 15 - 7
    packed = format_named("int4").pack(values)
    assert packed["scales"].tolist() == [1.0]
    assert packed["scales"].dtype == np.float16
    codes = (np.arange(32) % 15 + 1).tolist()
    assert packed["values"].tolist() == [low | high << 4 for low, high in zip(codes[:16], codes[16:], strict=True)]


def test_the_scale_of_int4_is_never_too_small_for_its_group() -> None:
    values = np.zeros(64, np.float32)
    values[[3, 40]] = 1.001, -3e-8
    packed = format_named("int4").pack(values)
    # 1.001 / 7 lies between two float16, and 3e-8 / 7 below the least of them.
    assert packed["scales"][0] == np.nextafter(np.float16(1.001 / 7 - 2**-15), np.float16(1))
    assert packed["scales"][1] == 2.0**-24
    assert format_named("int4").unpack(packed)[40] == -(2.0**-24)


def test_mxfp4_has_the_sixteen_codes_and_the_scale_of_its_specification() -> None:
    magnitudes = [0, 0.5, 1, 1.5, 2, 3, 4, 6]
    values = 8 * np.float32([*magnitudes, *np.negative(magnitudes), *magnitudes, *np.negative(magnitudes)])
    packed = format_named("mxfp4").pack(values)
    # 48 lies above 2^5, which is to be 4 = 2^2 times the scale: 2^3, with a bias of 127.
    assert packed["scales"].tolist() == [130]
    assert packed["values"].tolist() == [17 * code for code in range(16)]
    # 7.9 scales are rounded to the largest magnitude, 6.
    assert format_named("mxfp4").unpack(format_named("mxfp4").pack(np.full(32, 7.9, np.float32))).tolist() == [6.0] * 32


def test_a_scale_of_fp8_block_holds_for_128_rows_and_columns() -> None:
    one, values = format_named("fp8_block"), np.full((130, 256), 448, np.float32)
    values[127, 130], values[128, 3] = 448 * 4, 448 * 2
    packed = one.pack(values)
    assert packed["scales"].shape == (2, 2)
    assert packed["scales"].tolist() == [[1, 4], [2, 1]]
    np.testing.assert_array_equal(one.unpack(packed), values)
    np.testing.assert_array_equal(one.unpack(one.rows(packed, slice(128, 130))), values[128:])
    np.testing.assert_array_equal(one.unpack(one.rows(packed, slice(127, 128))), values[127:128])
    with pytest.raises(ValueError, match="whole bands of 128, or within one"):
        one.rows(packed, slice(100, 130))


@pytest.mark.parametrize(
    ("name", "shape", "reason"),
    [
        ("int4", (3, 5), "the last axis must be a multiple of 32 for int4; got 5"),
        ("int4_g128", (160,), "the last axis must be a multiple of 128 for int4_g128; got 160"),
        ("mxfp4", (), "mxfp4 needs an axis; got a single number"),
        ("fp8_block", (128,), "fp8_block needs two axes, whose blocks share a scale; got 1"),
        ("fp8_block", (3, 64), "the last axis must be a multiple of 128 for fp8_block; got 64"),
    ],
)
def test_shapes_that_cannot_be_cut_into_groups_are_refused(name: str, shape: tuple[int, ...], reason: str) -> None:
    assert format_named(name).refuses(shape) == reason


@pytest.mark.parametrize("name", REAL)
def test_a_nan_stays_one_and_takes_only_what_shares_its_scale(name: str) -> None:
    one, values = format_named(name), np.ones((256, 256), np.float32)
    values[3, 5] = np.nan
    lost = np.isnan(one.unpack(one.pack(values)))
    rows, columns = {"fp8_block": (128, 128), "int4": (1, 32), "mxfp4": (1, 32), "int4_g128": (1, 128)}.get(
        name, (1, 1) if isinstance(one, Plain) else (1, 256)
    )
    assert lost.any()
    assert lost.sum() == rows * columns
    assert lost[3, 5]


@pytest.mark.parametrize("name", REAL)
def test_jax_decodes_what_numpy_does(name: str) -> None:
    one = format_named(name)
    values = np.random.default_rng(0).standard_normal((300, 256), np.float32) * np.float32(np.logspace(-6, 3, 256))
    values[7, 9] = np.nan
    packed, expected = one.pack(values), one.unpack(one.pack(values))
    np.testing.assert_array_equal(jax.jit(lambda packed: decoded(name, packed))(packed), expected)
    for index in (7, 299):
        row = jax.jit(lambda packed, index: decoded_row(name, packed, index))(packed, np.int32(index))
        np.testing.assert_array_equal(row, expected[index])


def test_what_a_format_may_hold() -> None:
    assert format_names("kv") == ("bf16", "f16", "f32", "fp8", "int8")
    assert format_names("activation") == ("bf16", "f16", "f32")
    assert set(format_names("weight")) == set(format_names()) - {"i32"}
    with pytest.raises(KeyError, match=r"format\.kv must be one of bf16, f16, f32, fp8, int8; got 'int4'"):
        Formats(weight="int4", kv="int4")


def test_a_format_that_does_not_exist_is_answered_with_those_that_do() -> None:
    with pytest.raises(KeyError, match=r"format must be one of bf16.*f32.*; got 'bf17'"):
        format_named("bf17")


def test_a_format_of_several_arrays_is_not_plain() -> None:
    assert plain.refusal(Gemv(n=2, k=2, weight_format="bf16")) is None
    assert plain.dtype_of("bf16") == ml_dtypes.bfloat16
    quantised = Gemv(n=2, k=2, weight_format="int8")
    assert plain.refusal(quantised) == "weight is int8, which is not one array of one dtype"
    assert plain.refusal(quantised, decodes="weight") is None
    with pytest.raises(TypeError, match="got 'int8'"):
        plain.dtype_of("int8")
