"""The measured floor and what binds a call."""

import pytest
from roofcast.harness.measure.guard import Floor, floor
from roofcast.kernels.attention import Attention
from roofcast.kernels.gemv import Gemv


def test_the_floor_of_a_gemv_is_its_weights_over_the_read_bandwidth() -> None:
    cost = Gemv(n=14336, k=4096, weight_format="bf16").cost()
    found = floor(cost, read_gbs=20, cache_gbs=200, peak_gflops=1e6)
    assert found.us == pytest.approx(14336 * 4096 * 2 / 20e9 * 1e6)
    assert found.bound(10) == "memory"


def test_too_little_arithmetic_makes_it_compute_bound() -> None:
    cost = Gemv(n=14336, k=4096, weight_format="bf16").cost()
    found = floor(cost, read_gbs=1e6, cache_gbs=1e6, peak_gflops=1)
    assert found.us == pytest.approx(2 * 14336 * 4096 / 1e3)
    assert found.bound(10) == "compute"


def test_a_call_whose_floor_is_below_an_empty_call_is_bound_by_latency() -> None:
    assert Floor(memory_us=1, compute_us=2).bound(10) == "latency"
    assert Floor(memory_us=1, compute_us=20).bound(10) == "compute"


def test_shared_heads_of_the_cache_count_once() -> None:
    shape = {"kv_heads": 8, "context": 1000, "head_dim": 128, "value_dim": 128, "scale_dim": 128, "kv_format": "bf16"}
    few, many = (Attention(heads=heads, **shape).cost() for heads in (8, 64))
    ceilings = {"read_gbs": 20, "cache_gbs": 1e9, "peak_gflops": 1e9}
    assert floor(few, **ceilings).memory_us == floor(many, **ceilings).memory_us == pytest.approx(2 * 8 * 1000 * 128 * 2 / 20e3)
