"""The arithmetic probe: what it counts, and that it does what it counts."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.kernels import check
from roofcast.kernels.op import Implementation
from roofcast.kernels.peak import Peak
from roofcast.kernels.peak.reference import chain
from roofcast.kernels.peak.workload import FACTOR, TERM
from roofcast.kernels.registry import supported


def _runnable(*workloads: Peak):
    for workload in workloads:
        for one, refusal in supported(workload, jax.default_backend()):
            if refusal is None:
                yield pytest.param(workload, one, id=f"{workload.label}-{one.name}")


def _call(workload: Peak, one: Implementation, **operands: np.ndarray) -> jax.Array:
    return jax.jit(functools.partial(one.function, workload))(**operands)


@pytest.mark.parametrize(
    ("workload", "one"),
    list(
        _runnable(
            Peak(kind="multiply_add", format="f32", size=129, repeats=1),
            Peak(kind="multiply_add", format="f32", size=4096, repeats=1001),
            Peak(kind="matmul", format="f32", size=200, repeats=2),
            Peak(kind="matmul", format="bf16", size=200, repeats=2),
        )
    ),
)
def test_results_are_the_references(workload: Peak, one: Implementation) -> None:
    packed = check.draw(workload, seed=1)
    outputs = _call(workload, one, **packed)
    assert check.error(workload, outputs, check.expected(workload, packed)) <= workload.tolerance()


@pytest.mark.parametrize(("workload", "one"), list(_runnable(Peak(kind="multiply_add", format="f32", size=300, repeats=500))))
def test_a_step_left_out_shows(workload: Peak, one: Implementation) -> None:
    x = np.full(workload.size, 1e3, np.float32)
    y = np.asarray(_call(workload, one, x=x), np.float64)
    for steps in (workload.repeats - 1, workload.repeats + 1):
        assert abs(y / chain(x.astype(float), FACTOR, TERM, steps) - 1).min() > 5 * workload.tolerance()


@given(x=st.floats(-100, 100), steps=st.integers(0, 300))
def test_the_closed_form_is_the_loop(x: float, steps: int) -> None:
    looped = x
    for _ in range(steps):
        looped = looped * FACTOR + TERM
    assert chain(np.array([x]), FACTOR, TERM, steps)[0] == pytest.approx(looped, rel=1e-12, abs=1e-12)


def test_flops_count_a_multiply_add_as_two() -> None:
    assert Peak(kind="multiply_add", format="f32", size=10, repeats=7).cost().flops == 140
    assert Peak(kind="matmul", format="bf16", size=10, repeats=7).cost().flops == 14_000


def test_a_peak_that_is_not_measured_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="kind must be multiply_add or matmul; got 'add'"):
        Peak(kind="add", format="f32", size=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="format must be f32 for multiply_add; got 'bf16'"):
        Peak(kind="multiply_add", format="bf16", size=1)


def test_a_float32_product_is_not_rounded_to_a_narrower_format() -> None:
    workload = Peak(kind="matmul", format="f32", size=64)
    (one,) = (one for one, refusal in supported(workload, jax.default_backend()) if refusal is None)
    # 1 + 2^-12 is 1 in bfloat16 and in TF32.
    left, right = np.full((64, 64), 1 + 2.0**-12, np.float32), np.eye(64, dtype=np.float32) * 8
    np.testing.assert_array_equal(_call(workload, one, left=left, right=jnp.asarray(right)), left)
