"""The bandwidth probe: what it counts, and that it does what it counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.kernels import check
from roofcast.kernels.op import Implementation
from roofcast.kernels.registry import op_named, supported, workload_from
from roofcast.kernels.stream import Stream
from roofcast.kernels.stream.workload import BLOCK

KINDS = ("read", "copy", "triad")


def _implementations(kind: str) -> list[Implementation]:
    return [one for one, refusal in supported(Stream(kind=kind, elements=1), jax.default_backend()) if refusal is None]


def _call(workload: Stream, one: Implementation):
    return jax.jit(functools.partial(one.function, workload), donate_argnames=workload.donated)


EVERY = [pytest.param(kind, one, id=f"{kind}-{one.name}") for kind in KINDS for one in _implementations(kind)]


@pytest.mark.parametrize(("kind", "one"), EVERY)
def test_passes_give_what_the_reference_does(kind: str, one: Implementation) -> None:
    for elements, repeats in ((BLOCK - 1, 1), (40 * BLOCK + 3, 1), (9 * BLOCK + 500, 7), (2 * BLOCK, 4000)):
        workload = Stream(kind=kind, elements=elements, repeats=repeats)
        packed = check.draw(workload, seed=elements)
        outputs = _call(workload, one)(**jax.tree.map(jnp.array, packed))
        assert check.error(workload, outputs, check.expected(workload, packed)) <= workload.tolerance()


@pytest.mark.parametrize("one", [pytest.param(one, id=one.name) for one in _implementations("read")])
def test_every_element_and_every_pass_shows_in_the_sums(one: Implementation) -> None:
    # Small integers add up without rounding, so that a single one left out shows.
    workload = Stream(kind="read", elements=3 * BLOCK + 17, repeats=5)
    source = np.arange(workload.elements) % 7 + 1
    sums = _call(workload, one)(source=jnp.asarray(source, jnp.float32))
    np.testing.assert_array_equal(sums, 5 * np.add.reduceat(source, np.arange(0, workload.elements, BLOCK)))


@pytest.mark.parametrize(("kind", "one"), [param for param in EVERY if param.values[0] != "read"])
def test_the_destination_is_written_in_place(kind: str, one: Implementation) -> None:
    workload = Stream(kind=kind, elements=3000, repeats=2)
    operands = jax.tree.map(jnp.array, check.draw(workload, seed=0))
    address = operands["destination"].unsafe_buffer_pointer()
    assert _call(workload, one)(**operands).unsafe_buffer_pointer() == address


@pytest.mark.parametrize(("kind", "one"), EVERY)
def test_a_nan_is_not_lost(kind: str, one: Implementation) -> None:
    workload = Stream(kind=kind, elements=5000)
    packed = check.draw(workload, seed=0)
    packed[next(iter(packed))][4100] = np.nan
    (expected,) = check.expected(workload, packed)
    result = _call(workload, one)(**jax.tree.map(jnp.array, packed))
    np.testing.assert_array_equal(np.isnan(result), np.isnan(expected))
    assert np.isnan(expected).sum() == 1


@given(kind=st.sampled_from(KINDS), elements=st.integers(1, 10**9), repeats=st.integers(1, 10**4))
def test_bytes_are_counted_as_in_stream(kind: str, elements: int, repeats: int) -> None:
    cost = Stream(kind=kind, elements=elements, repeats=repeats).cost()
    arrays = {"read": 1, "copy": 2, "triad": 3}[kind]
    assert cost.bytes == 4 * arrays * elements * repeats
    assert cost.flops == {"read": 1, "copy": 0, "triad": 2}[kind] * elements * repeats
    assert sum(cost.writes.values()) == (0 if kind == "read" else 4 * elements * repeats)


def test_it_is_no_part_of_a_decode_step() -> None:
    assert op_named("stream") is Stream
    assert list(Stream.needed_by(None)) == []  # type: ignore[arg-type]
    workload = Stream(kind="copy", elements=5, repeats=2)
    assert workload_from("stream", workload.axes()) == workload
    with pytest.raises(ValueError, match="kind must be read, copy or triad; got 'write'"):
        Stream(kind="write", elements=1)  # type: ignore[arg-type]
