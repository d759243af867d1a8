"""Where operands lie, and what is done while a program is compiled."""

import gc
import threading
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from roofcast.harness.measure.overlap import overlapped
from roofcast.harness.measure.place import placed, stack
from roofcast.kernels import check, room
from roofcast.kernels.gemv import Gemv

DTYPES = st.sampled_from([np.float32, np.uint8, np.int32, jnp.bfloat16, jnp.float8_e4m3fn])


@settings(max_examples=50)
@given(shape=arrays.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=70), dtype=DTYPES, count=st.integers(0, 5))
def test_copies_are_equal_and_no_two_share_memory(shape: tuple[int, ...], dtype: Any, count: int) -> None:
    array = (np.arange(int(np.prod(shape))) % 100).reshape(shape).astype(dtype)
    copies = placed({"a": {"values": array}, "b": array.copy()}, count)
    assert len(copies) == count
    everything = [leaf for copy in copies for leaf in jax.tree.leaves(copy)]
    for leaf in everything:
        np.testing.assert_array_equal(np.asarray(leaf), array)
        assert leaf.dtype == array.dtype
    # JAX keeps some single numbers for everybody.
    assert array.size <= 1 or len({leaf.unsafe_buffer_pointer() for leaf in everything}) == len(everything)


@settings(max_examples=20)
@given(shape=arrays.array_shapes(max_dims=2, max_side=20), dtype=DTYPES, count=st.integers(1, 5))
def test_a_stack_is_its_array_over_and_over(shape: tuple[int, ...], dtype: Any, count: int) -> None:
    array = (np.arange(np.prod(shape)) % 100).reshape(shape).astype(dtype)
    stacked = stack(jnp.asarray(array), count)
    assert stacked.shape == (count, *shape)
    assert all((np.asarray(one) == array).all() for one in stacked)


@pytest.mark.skipif(jax.default_backend() != "cpu", reason="other devices have memory of their own")
def test_large_operands_are_drawn_where_they_are_read() -> None:
    drawn = check.draw(Gemv(n=3000, k=2048, weight_format="int8"), 1)
    [operands] = placed(drawn)
    for name, part in drawn["weight"].items():
        assert operands["weight"][name].unsafe_buffer_pointer() == part.ctypes.data


@settings(max_examples=30)
@given(shape=arrays.array_shapes(min_dims=0), dtype=DTYPES, count=st.integers(0, 4))
def test_room_begins_where_jax_takes_it_over(shape: tuple[int, ...], dtype: Any, count: int) -> None:
    pieces = room.empty(shape, dtype, count)
    assert len(pieces) == count
    for number, piece in enumerate(pieces):
        assert room.is_taken_over(piece)
        assert (piece.shape, piece.dtype) == (shape, dtype)
        assert not any(np.shares_memory(piece, other) for other in pieces[:number])


@pytest.fixture
def keeping() -> Iterator[None]:
    room.keep(10 * 2**20)
    yield
    room.keep(0)


def test_memory_lies_ready_once_nobody_has_a_view_of_it(keeping: None) -> None:
    [first] = room.empty((2**20,), np.float32)
    place, view = first.ctypes.data, jax.device_put(first)[5:7]
    part = first.reshape(2, -1)[1, :3]
    del first
    [other] = room.empty((2**20,), np.float32)
    assert other.ctypes.data != place
    del part
    gc.collect()
    [again] = room.empty((2**19,), np.float32)
    assert again.ctypes.data == place
    assert view.shape == (2,)


def test_no_more_is_kept_than_was_asked_for(keeping: None) -> None:
    pieces = [room.empty((4 * 2**20,), np.uint8)[0] for _ in range(4)]
    pieces.clear()
    assert sum(piece.size for piece in room._idle.values()) <= 10 * 2**20
    assert len(room._idle) == 2
    large = room.empty((4 * 2**20 + 4096,), np.uint8)
    assert len(room._idle) == 2
    room.keep(0)
    assert not room._idle
    large.clear()
    assert not room._idle


def test_a_large_piece_is_not_spent_on_a_small_array(keeping: None) -> None:
    [large] = room.empty((9 * 2**20,), np.uint8)
    del large
    [small] = room.empty((2**21,), np.uint8)
    assert len(room._idle) == 1
    assert small.size == 2**21


def test_work_goes_on_beside_a_block_and_never_after_it() -> None:
    begun, may_end = threading.Event(), threading.Event()

    def work(answer: int) -> int:
        begun.set()
        assert may_end.wait(60)
        return answer

    with overlapped(work, 42) as result:
        assert begun.wait(60)
        may_end.set()
    assert result() == 42

    ended = False

    def ends() -> None:
        nonlocal ended
        begun.wait(60)
        ended = True

    def fails() -> None:
        begun.clear()
        with overlapped(ends):
            begun.set()
            raise KeyError

    with pytest.raises(KeyError):
        fails()
    assert ended


def test_what_goes_wrong_meanwhile_is_raised_where_the_result_is_asked_for() -> None:
    with overlapped(lambda: 1 // 0) as result:
        pass
    with pytest.raises(ZeroDivisionError):
        result()
