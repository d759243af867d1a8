"""Kernels in plain Python: the engine that runs them, and the vectors they are written in."""

import dataclasses
import functools
import importlib
import os
import threading
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from jax import lax
from roofcast.kernels import check
from roofcast.kernels.ffi import LANES, PAIR, build, digits, engine, kernel, lanes, nibbles, unit_of, unusable, vectors
from roofcast.kernels.formats import format_named
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.gemv.arranged import in_digits
from roofcast.kernels.gemv.cpu import numba as gemv_numba

pytestmark = pytest.mark.skipif(unusable() is not None, reason=str(unusable()))


@kernel
def count_visits(start, stop, _before, visits):
    for unit in range(start, stop):
        visits[unit] += 1


@kernel
def scale_rows(start, stop, matrix, scaled, factor):
    for row in range(start, stop):
        for column in range(matrix.shape[1]):
            scaled[row, column] = factor * matrix[row, column]


@kernel
def powers(start, stop, x, y):
    for unit in range(start, stop):
        lanes.store(y, unit * LANES, vectors.exp(lanes.load(x, unit * LANES)))


@kernel
def row_sums(start, stop, matrix, sums):
    for row in range(start, stop):
        parts = vectors.filled(0, 2)
        whole = matrix.shape[1] // PAIR * PAIR
        for column in range(0, whole, PAIR):
            parts = parts + lanes.load_pairs(matrix, (row,), column, 1)
        if whole < matrix.shape[1]:
            parts = parts + lanes.load_last_pairs(matrix, (row,), whole)
        sums[row] = vectors.total(parts)


@kernel
def widen(start, stop, x, y):
    for row in range(start, stop):
        for column in range(0, x.shape[1], PAIR):
            lanes.store_pairs(y, (row,), column, lanes.consecutive(lanes.load_pairs(x, (row,), column, 1), x))


@kernel
def rearrange(start, stop, x, like, there, back):
    for row in range(start, stop):
        pair = lanes.arranged(lanes.load_pairs(x, (row,), 0, 1), like)
        lanes.store_pairs(there, (row,), 0, pair)
        lanes.store_pairs(back, (row,), 0, lanes.consecutive(pair, like))


def _visited(units: int, grain: int | None) -> jax.Array:
    @jax.jit
    def call(before: jax.Array) -> jax.Array:
        return count_visits(before, results=before, units=units, grain=grain, aliases={0: 0})

    return call(jnp.zeros(max(units, 1), jnp.int32))


def _scaled(matrix: jax.Array, factor: float) -> jax.Array:
    return scale_rows(matrix, results=matrix, units=matrix.shape[0], grain=4, factor=factor)


@given(units=st.integers(0, 5000), grain=st.one_of(st.none(), st.integers(1, 6000)))
def test_every_unit_is_computed_once(units: int, grain: int | None) -> None:
    assert (np.asarray(_visited(units, grain)) == 1)[:units].all()


def test_calls_in_a_compiled_loop_see_each_others_results() -> None:
    start = jnp.ones((64, 33))
    looped = jax.jit(lambda x: lax.fori_loop(0, 50, lambda _, y: _scaled(y, 1.5), x))(start)
    scanned = jax.jit(lambda x: lax.scan(lambda y, _: (_scaled(y, 1.5), y[0, 0]), x, length=50))(start)
    np.testing.assert_allclose(looped, np.full((64, 33), 1.5**50), rtol=1e-5)
    np.testing.assert_array_equal(scanned[0], looped)
    np.testing.assert_allclose(scanned[1], 1.5 ** np.arange(50), rtol=1e-5)


def test_calls_at_the_same_time_do_not_meet() -> None:
    call = jax.jit(_scaled, static_argnums=1)
    matrices = [jnp.full((500, 40), float(number)) for number in range(4)]
    wrong, barrier = [], threading.Barrier(len(matrices))

    def run(matrix: jax.Array) -> None:
        barrier.wait()
        for _ in range(200):
            if not (np.asarray(call(matrix, 2.0)) == 2 * np.asarray(matrix)).all():
                wrong.append(matrix)

    threads = [threading.Thread(target=run, args=(matrix,)) for matrix in matrices]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_thousands_of_small_calls() -> None:
    call = jax.jit(lambda x: scale_rows(x, results=x, units=x.shape[0], factor=-1.0))
    x = first = jnp.arange(64.0).reshape(32, 2)
    for _ in range(3000):
        x = call(x)
    np.testing.assert_array_equal(x, first)


def test_a_blocked_pool_costs_no_result() -> None:
    @kernel
    def wait(start, stop, flag, done, address):
        engine._fetch_add(address, 1, stop - start)
        while engine._load_acquire(address, 0) == 0:
            pass
        done[start:stop] = 1

    words = np.zeros(2, np.int64)
    many = 4 * (os.cpu_count() or 1)
    results: list[int] = []

    def blocked() -> None:
        shape = jax.ShapeDtypeStruct((many,), jnp.int32)
        call = jax.jit(lambda flag: wait(flag, results=shape, units=many, address=words.ctypes.data))
        results.append(int(call(jnp.int32(0)).sum()))

    # One caller: it holds all of the pool's helpers, and leaves JAX a thread to start the next program on.
    thread = threading.Thread(target=blocked)
    thread.start()
    try:
        before, deadline = -1, time.monotonic() + 20
        while time.monotonic() < deadline and (words[1] < 1 or words[1] != before):
            before = words[1]
            time.sleep(0.2)
        np.testing.assert_array_equal(_visited(1000, 10), np.ones(1000))
        assert thread.is_alive()
    finally:
        words[0] = 1
    thread.join()
    assert results == [many]


def test_independent_calls_of_one_program_may_run_together() -> None:
    @jax.jit
    def call(x: jax.Array) -> jax.Array:
        return jnp.stack([_scaled(x + number, 2.0) for number in range(16)])

    x = jnp.ones((256, 64))
    for _ in range(50):
        np.testing.assert_array_equal(call(x)[:, 0, 0], 2.0 * (1 + np.arange(16)))


def test_a_donated_buffer_is_written_in_place() -> None:
    @jax.jit
    def twice(x: jax.Array) -> jax.Array:
        return scale_rows(x, results=x, units=x.shape[0], aliases={0: 0}, factor=2.0)

    x = jnp.ones((8, 8))
    np.testing.assert_array_equal(twice(x), np.full((8, 8), 2.0))
    np.testing.assert_array_equal(x, np.ones((8, 8)))
    address = x.unsafe_buffer_pointer()
    y = jax.jit(twice, donate_argnums=0)(x)
    assert y.unsafe_buffer_pointer() == address
    np.testing.assert_array_equal(y, np.full((8, 8), 2.0))


def test_a_body_is_compiled_once_for_its_types(monkeypatch: pytest.MonkeyPatch) -> None:
    @kernel
    def add(start, stop, x, y, amount):
        for index in range(start, stop):
            y[index] = x[index] + amount

    made = []
    make = build.Handler
    monkeypatch.setattr(build, "Handler", lambda name, *rest: made.append(name) or make(name, *rest))

    def added(x: jax.Array, amount: float) -> jax.Array:
        return jax.jit(lambda x: add(x, results=x, units=x.size, amount=amount))(x)

    for size, amount in ((3, 1.0), (5, 1.0), (5, 2.5)):
        np.testing.assert_array_equal(added(jnp.arange(float(size)), amount), np.arange(size) + amount)
    assert len(made) == 1
    np.testing.assert_array_equal(added(jnp.arange(4), 2), np.arange(4) + 2)
    assert len(made) == 2


def test_a_body_is_compiled_again_when_another_folders_helper_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, text in (
        ("ours", "from theirs.code import helped\ndef body(): return helped()"),
        ("theirs", "def helped(): pass"),
    ):
        (tmp_path / name).mkdir()
        (tmp_path / name / "code.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    body = importlib.import_module("ours.code").body
    before = build._digest(body)
    assert build._digest(body) == before
    (tmp_path / "theirs" / "code.py").write_text("def helped(): return 1")
    assert build._digest(body) != before


def test_scalars_and_bfloat16_bits_reach_a_body() -> None:
    @kernel
    def widen(start, stop, bits, at, y):
        for index in range(start, stop):
            y[index] = bits[index + at[()]]

    values = jnp.arange(8, dtype=jnp.bfloat16)
    shape = jax.ShapeDtypeStruct((5,), jnp.uint16)
    bits = jax.jit(lambda x, at: widen(x, at, results=shape, units=5))(values, jnp.int32(3))
    np.testing.assert_array_equal(bits, np.asarray(values)[3:].view(np.uint16))


def test_exp_follows_the_definition() -> None:
    x = np.concatenate([np.linspace(-87.3, 0, 8191), [-88, -1e30, -np.inf, np.nan, 0.0]]).astype(np.float32)
    x = np.pad(x, (0, -x.size % LANES))
    y = np.asarray(jax.jit(lambda x: powers(x, results=x, units=x.size // LANES))(x))
    expected = np.where(x < -87.4, 0, np.exp(x.astype(np.float64)))
    np.testing.assert_allclose(y, expected, rtol=3e-7)


@pytest.mark.parametrize("columns", [1, 31, 32, 33, 64, 100])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_pairs_read_a_row_to_its_end_and_no_further(columns: int, dtype: str) -> None:
    matrix = np.ones((5, columns))
    matrix[2] = np.nan  # what is read of a neighbour would show
    sums = jax.jit(lambda x: row_sums(x, results=jax.ShapeDtypeStruct((5,), jnp.float32), units=5))(jnp.asarray(matrix, dtype))
    np.testing.assert_array_equal(sums, [columns, columns, np.nan, columns, columns])


@pytest.mark.parametrize("dtype", ["int8", "float8_e4m3fn", "float16"])
def test_every_narrow_number_is_widened_exactly(dtype: str) -> None:
    bits = np.arange(2 ** (8 * jnp.dtype(dtype).itemsize)).astype(f"uint{8 * jnp.dtype(dtype).itemsize}").reshape(1, -1)
    numbers = bits.view(jnp.dtype(dtype))
    shape = jax.ShapeDtypeStruct(bits.shape, jnp.float32)
    widened = jax.jit(lambda x: widen(x, results=shape, units=1))(jnp.asarray(numbers)) * unit_of(jnp.dtype(dtype))
    expected = numbers.astype(np.float32)
    known = np.isfinite(expected) if dtype == "float8_e4m3fn" else np.full(bits.shape, True)
    np.testing.assert_array_equal(np.asarray(widened)[known], expected[known])


@pytest.mark.parametrize("k", [96, 128, 1056])
@pytest.mark.parametrize("name", ["int4", "int4_g128", "mxfp4"])
def test_four_bits_are_multiplied_as_floats_where_a_cpu_multiplies_no_integers(
    name: str, k: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    workload = Gemv(n=19, k=k, weight_format=name)
    if format_named(name).refuses((19, k)):
        workload = dataclasses.replace(workload, k=1152)
    packed = check.draw(workload, 0)
    monkeypatch.setattr(nibbles, "multiplies_integers", lambda: False)
    out = jax.jit(functools.partial(gemv_numba.function, workload))(**jax.tree.map(jnp.asarray, packed))
    assert check.error(workload, np.asarray(out), check.expected(workload, packed)) <= workload.tolerance()


@pytest.mark.parametrize("name", ["int4", "mxfp4"])
def test_a_vector_may_have_zeros_only_or_one_number_far_larger_than_the_rest(name: str) -> None:
    workload = Gemv(n=40, k=256, weight_format=name)
    packed = check.draw(workload, 1)
    call = jax.jit(functools.partial(gemv_numba.function, workload))
    assert not np.asarray(call(**packed | {"x": np.zeros(256, np.float32)})).any()
    packed["x"][7] = -3e4
    outlying = check.error(workload, np.asarray(call(**packed)), check.expected(workload, packed))
    assert outlying <= workload.tolerance()


def _stored(x: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(blocks, 4, 2, 16) integers of vectors of whole blocks, their units (blocks, 4), and the 16 lanes' offsets."""
    rows = np.asarray(jax.jit(lambda x: in_digits(x, count, integers=True))(x))
    parts = rows[:, : digits.offsets_at(count)].reshape(-1, count, 2, 4, 16).astype(np.int64)
    whole = sum(parts[:, digit] << digits.BITS * (count - 1 - digit) for digit in range(count))
    units = rows[:, digits.units_at(count) :][:, :16].copy().view(np.float32)
    return np.swapaxes(whole, 1, 2), units, rows[:, digits.offsets_at(count) : digits.units_at(count)].copy().view(np.int32)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_vector_in_digits_keeps_their_bits_of_the_largest_of_each_group(count: int) -> None:
    x = np.random.default_rng(count).standard_normal((6, 4, 32)) * 10.0 ** np.arange(-12, 12).reshape(6, 4, 1)
    x[0, 1], x[2, 3, 5] = 0, -1e30
    x = x.astype(np.float32)
    whole, units, offsets = _stored(x.ravel(), count)
    stored = whole.reshape(6, 4, 32) * units.astype(np.float64)[..., None]
    largest = np.abs(x).max(-1, keepdims=True)
    assert (np.abs(stored - x) <= largest * (2.0 ** -digits.bits(count) + 2.0**-23)).all()
    # Lane l of a line meets bytes 4 l to 4 l + 3, in both halves.
    met = whole.sum(2).reshape(6, 16, 4).sum(-1)
    np.testing.assert_array_equal(offsets, -nibbles.INT4_OFFSET * met)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_with_nan_or_infinity_has_no_finite_product(bad: float) -> None:
    workload = Gemv(n=20, k=160, weight_format="int4")
    packed = check.draw(workload, 0)
    packed["x"][3] = bad
    out = jax.jit(functools.partial(gemv_numba.function, workload))(**jax.tree.map(jnp.asarray, packed))
    assert not np.isfinite(out).any()


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_rearranging_is_undone(dtype: str) -> None:
    x = jnp.arange(2.0 * PAIR).reshape(2, PAIR)
    like = jnp.zeros(1, dtype)
    there, back = jax.jit(lambda x: rearrange(x, like, results=(x, x), units=2))(x)
    even_odd = np.concatenate([np.arange(0, PAIR, 2), np.arange(1, PAIR, 2)])
    np.testing.assert_array_equal(there[0], even_odd if dtype == "bfloat16" else np.arange(PAIR))
    np.testing.assert_array_equal(back, x)
