"""The KV cache in every format: a row rounded as the format says, in the buffer that was donated."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from roofcast.kernels import check
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.cache.packed import packed as packed_in_jax
from roofcast.kernels.formats import format_named, format_names
from roofcast.kernels.op import Implementation
from roofcast.kernels.registry import implementations, supported

BACKEND = jax.default_backend()
FORMATS = format_names("kv")


def _able(workload: CacheUpdate) -> list[Implementation]:
    return [one for one, refusal in supported(workload, BACKEND) if refusal is None]


def _workload(kv_format: str) -> CacheUpdate:
    return CacheUpdate(kv_heads=3, context=17, head_dim=24, value_dim=8, kv_format=kv_format)


@functools.cache
def _call(workload: CacheUpdate, one: Implementation) -> Any:
    return jax.jit(functools.partial(one.function, workload), donate_argnames=workload.donated)


@pytest.mark.parametrize("kv_format", FORMATS)
def test_one_token_changes_its_rows_only(kv_format: str) -> None:
    workload, form = _workload(kv_format), format_named(kv_format)
    operands = check.draw(workload, 0) | {"position": np.int32(11)}
    for one in _able(workload):
        results = jax.device_get(_call(workload, one)(**jax.tree.map(jnp.array, operands)))
        for name, result in zip(("keys", "values"), results, strict=True):
            after, before = form.unpack(result), form.unpack(operands[name])
            np.testing.assert_array_equal(np.delete(after, 11, axis=1), np.delete(before, 11, axis=1))
            np.testing.assert_array_equal(after[:, 11], form.unpack(form.pack(operands[f"new_{name}"])))


@pytest.mark.parametrize("kv_format", FORMATS)
def test_the_donated_buffers_are_handed_on(kv_format: str) -> None:
    workload = _workload(kv_format)
    for one in _able(workload):
        operands = jax.tree.map(jnp.array, check.draw(workload, 0))
        before = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves((operands["keys"], operands["values"]))]
        results = _call(workload, one)(**operands)
        assert [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(results)] == before, one.name


def test_what_xla_would_widen_is_updated_by_the_kernel_on_cpu() -> None:
    (numba,) = (one for one in implementations("cache") if one.name == "cpu.numba")
    assert numba.refuses(_workload("fp8")) is None
    refusal = numba.refuses(_workload("bf16"))
    assert (refusal is None) == (jax.__version_info__ < (0, 12))


@pytest.mark.parametrize("kv_format", FORMATS)
@given(rows=arrays(np.float32, (3, 8), elements=st.floats(-1000, 1000, width=32).filter(lambda x: x == 0 or abs(x) > 1e-3)))
def test_rows_are_rounded_in_jax_as_in_numpy(kv_format: str, rows: np.ndarray) -> None:
    form = format_named(kv_format)
    ours, theirs = form.unpack(jax.device_get(packed_in_jax(kv_format, jnp.array(rows)))), form.unpack(form.pack(rows))
    # XLA on CPU rounds to FP8 by way of float16, and so a tie may go the other way.
    largest = np.abs(rows).max(1, keepdims=True)
    assert (np.abs(ours - theirs) <= (2 * form.epsilon * largest if kv_format == "fp8" else 0)).all()


def test_zeros_and_nan() -> None:
    rows = np.zeros((3, 4), np.float32)
    rows[1, 2] = np.nan
    for kv_format in ("int8", "fp8"):
        form = format_named(kv_format)
        back = form.unpack(jax.device_get(packed_in_jax(kv_format, jnp.array(rows))))
        assert not back[[0, 2]].any()
        np.testing.assert_array_equal(np.isnan(back), np.isnan(form.unpack(form.pack(rows))))
