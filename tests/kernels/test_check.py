"""The checker itself: what it draws, what it accepts, and that nothing wrong gets past it."""

import copy
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.kernels import check
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.embedding import Embedding
from roofcast.kernels.experts import Experts
from roofcast.kernels.formats import format_named, format_names
from roofcast.kernels.formats.base import Plain
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.op import Workload
from roofcast.kernels.registry import op_named, op_names
from roofcast.kernels.sampling import Sampling
from roofcast.kernels.stream import Stream

EXAMPLES = [example for op in op_names() for example in op_named(op).examples()]
REAL_VALUED = [
    example
    for example in EXAMPLES
    if all(t.role != "index" and isinstance(format_named(t.format), Plain) for t in example.results().values())
]
LARGE = Gemv(n=3000, k=2048, weight_format="bf16")


def _rounded(workload: Workload, expected: tuple[Any, ...]) -> list[Any]:
    """The reference as an implementation without any error would return it."""
    return [
        format_named(tensor.format).pack(np.asarray(result, np.float32))
        for tensor, result in zip(workload.results().values(), expected, strict=True)
    ]


def _with_another_axis(out: Any) -> Any:
    return {name: part[None] for name, part in out.items()} if isinstance(out, dict) else out[None]


@pytest.fixture(scope="module")
def answered() -> list[tuple[Workload, tuple[Any, ...], list[Any]]]:
    references = [(one, check.expected(one, check.draw(one, 7))) for one in REAL_VALUED]
    return [(workload, expected, _rounded(workload, expected)) for workload, expected in references]


def test_the_reference_rounded_to_its_format_is_right(answered: list[Any]) -> None:
    for workload, expected, outputs in answered:
        assert check.error(workload, tuple(outputs), expected) <= workload.tolerance()


def _shapes_of(packed: dict[str, Any]) -> dict[str, Any]:
    def said(part: Any) -> Any:
        return {name: said(one) for name, one in part.items()} if isinstance(part, dict) else (part.shape, part.dtype)

    return {name: said(operand) for name, operand in packed.items()}


@pytest.mark.parametrize("workload", EXAMPLES, ids=lambda one: one.label)
def test_shapes_are_known_before_anything_is_drawn(workload: Workload) -> None:
    assert _shapes_of(check.shapes(workload)) == _shapes_of(check.draw(workload, 1))


@pytest.mark.parametrize("name", [name for name in format_names() if "weight" in format_named(name).roles])
@pytest.mark.parametrize("n", [4000, 128 * 40])
def test_large_tensors_are_rows_that_were_packed_once(name: str, n: int) -> None:
    workload = Gemv(n=n, k=512, weight_format=name)
    drawn = check.draw(workload, 1)
    assert _shapes_of(check.shapes(workload)) == _shapes_of(drawn)
    one = format_named(name)
    # Of a band cut short, the largest value may be missing.
    values = one.unpack(drawn["weight"])[: one.band * (n // one.band)]
    assert len(np.unique(values[:: one.band, :8], axis=0)) > 10
    # Under the scales of other rows, or of none, packing them again would change them.
    np.testing.assert_allclose(one.unpack(one.pack(values.astype(np.float32))), values, rtol=1e-6)


@pytest.mark.parametrize("poison", [np.nan, np.inf])
@settings(max_examples=8)
@given(place=st.floats(0, 1, exclude_max=True))
def test_one_nan_anywhere_is_wrong(answered: list[Any], poison: float, place: float) -> None:
    for workload, expected, outputs in answered:
        for index in range(len(outputs)):
            bad = copy.deepcopy(outputs)
            floats = bad[index]["scales"] if isinstance(bad[index], dict) else bad[index]
            floats.flat[int(place * floats.size)] = poison
            # An infinite scale makes NaN of a zero.
            with np.errstate(invalid="ignore"):
                assert check.error(workload, bad, expected) == math.inf


@given(seed=st.integers(0, 2**31), below=st.integers(1, 300), count=st.integers(1, 20))
def test_several_indices_are_drawn_far_apart(seed: int, below: int, count: int) -> None:
    count = min(count, below)
    workload = Experts(experts=below, top_k=count, n=1, k=1, weight_format="f32")
    drawn = np.sort(check.draw(workload, seed)["chosen"])
    assert drawn.dtype == np.int32
    assert 0 <= drawn[0] <= drawn[-1] < below
    assert (np.diff([*drawn, drawn[0] + below]) >= below // count).all()


def test_a_reference_that_is_not_finite_is_never_met() -> None:
    workload = Gemv(n=3, k=5, weight_format="f32")
    packed = check.draw(workload, 0)
    packed["x"][2] = np.nan
    assert check.error(workload, np.ones(3, np.float32), check.expected(workload, packed)) == math.inf


def test_a_wrong_shape_dtype_or_number_of_results_is_wrong(answered: list[Any]) -> None:
    for workload, expected, outputs in answered:
        assert check.error(workload, [_with_another_axis(out) for out in outputs], expected) == math.inf
        if all(isinstance(out, np.ndarray) for out in outputs):
            assert check.error(workload, [out.astype(np.float64) for out in outputs], expected) == math.inf
        assert check.error(workload, [*outputs, outputs[0]], expected) == math.inf


def test_only_some_results_may_be_kept_from_the_check_and_only_where_that_is_said() -> None:
    workload = Gemv(n=3, k=4, weight_format="f32")
    expected = check.expected(workload, check.draw(workload, 0))
    assert check.error(workload, None, expected, partial=True) == math.inf
    cache = next(iter(CacheUpdate.examples()))
    right, other = _rounded(cache, check.expected(cache, check.draw(cache, 0))), check.expected(cache, check.draw(cache, 0))
    assert check.error(cache, [None, right[1]], other, partial=True) <= cache.tolerance()
    wrong = check.draw(cache, 1)["keys"]
    assert check.error(cache, [wrong, None], other, partial=True) > cache.tolerance()


def test_one_element_that_was_not_written_in_a_long_result_is_wrong() -> None:
    workload = Gemv(n=100_000, k=4, weight_format="bf16", activation_format="bf16")
    expected = check.expected(workload, check.draw(workload, 0))
    (out,) = _rounded(workload, expected)
    out[np.abs(expected[0]).argmax()] = 0
    assert np.linalg.norm(out.astype(float) - expected[0]) / np.linalg.norm(expected[0]) < 2e-2
    assert check.error(workload, out, expected) > 10 * workload.tolerance()


def test_a_row_written_in_the_wrong_place_of_a_long_cache_is_wrong() -> None:
    workload = CacheUpdate(kv_heads=1, context=200_000, head_dim=2, value_dim=0, kv_format="bf16")
    packed = check.draw(workload, 0)
    elsewhere = {**packed, "position": np.int32((packed["position"] + 1) % workload.context)}
    expected, wrong = check.expected(workload, packed), check.expected(workload, elsewhere)
    assert check.error(workload, _rounded(workload, wrong), expected) > workload.tolerance()


def test_a_result_of_zeros_is_right_only_as_zeros() -> None:
    workload = Embedding(rows=3, d=2, weight_format="f32")
    packed = check.draw(workload, 0) | {"table": np.zeros((3, 2), np.float32)}
    expected = check.expected(workload, packed)
    assert check.error(workload, np.zeros(2, np.float32), expected) == 0
    assert check.error(workload, np.full(2, 1e-30, np.float32), expected) == math.inf


def test_a_token_is_right_or_wrong_and_ties_are_right() -> None:
    workload = Sampling(method="top_k", vocab=4, k=2)
    # Tokens 1 and 3 halve the probability, so at one half both are right.
    packed = {"logits": np.float32([0, 5, 0, 5]), "uniform": np.float32(0.5)}
    expected = check.expected(workload, packed)
    assert [check.error(workload, np.int32(token), expected) for token in range(4)] == [math.inf, 0, math.inf, 0]
    clear = check.expected(workload, packed | {"uniform": np.float32(0.3)})
    assert [check.error(workload, np.int32(token), clear) for token in range(4)] == [math.inf, 0, math.inf, math.inf]


@pytest.mark.parametrize("workload", EXAMPLES, ids=lambda workload: workload.label)
def test_operands_are_drawn_as_declared(workload: Workload) -> None:
    packed = check.draw(workload, 11)
    assert list(packed) == list(workload.operands())
    for name, tensor in workload.operands().items():
        values = format_named(tensor.format).unpack(packed[name])
        assert values.shape == tensor.shape
        assert np.isfinite(values).all()
        assert not tensor.below or ((values >= 0) & (values < tensor.below)).all()
        again = format_named(tensor.format).unpack(check.draw(workload, 11)[name])
        np.testing.assert_array_equal(values, again)


def test_seeds_differ() -> None:
    first, second = (check.draw(Gemv(n=3, k=5, weight_format="bf16"), seed)["weight"] for seed in (0, 1))
    assert (first != second).any()


def test_a_large_weight_has_the_spread_of_a_trained_one_and_no_pattern_in_its_rows() -> None:
    assert LARGE.operands()["weight"].elements > check._DRAWN_ELEMENTS
    weight = format_named("bf16").unpack(check.draw(LARGE, 0)["weight"])
    assert weight.shape == (3000, 2048)
    assert weight.std() == pytest.approx(2048**-0.5, rel=0.01)
    assert (weight[1:] != weight[:-1]).any(1).mean() > 0.99


def test_a_long_vector_repeats_its_beginning() -> None:
    drawn = check.draw(Stream(kind="read", elements=check._DRAWN_ELEMENTS + 3), 0)["source"]
    np.testing.assert_array_equal(drawn[-3:], drawn[:3])
    assert drawn[: check._DRAWN_ELEMENTS].std() == pytest.approx(1, rel=0.01)


@pytest.mark.parametrize("workload", [*REAL_VALUED, LARGE], ids=lambda workload: workload.label)
def test_pieces_join_to_the_whole(workload: Workload) -> None:
    packed = check.draw(workload, 2)
    formats = {name: format_named(tensor.format) for name, tensor in workload.operands().items()}
    whole = workload.reference(**{name: formats[name].unpack(value) for name, value in packed.items()})
    for joined, direct in zip(check.expected(workload, packed), whole, strict=True):
        np.testing.assert_allclose(joined, direct, rtol=1e-12, atol=1e-12)
