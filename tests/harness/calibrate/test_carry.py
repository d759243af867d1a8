"""The two carrying rules: conservation, limits, floors, and the same machine carried to itself."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.calibrate.carry import carry, compute_format, scaled_us, streamed_us
from roofcast.harness.calibrate.efficiency import Evidence
from roofcast.harness.facts.devices import device_named
from roofcast.kernels.activation import Activation
from roofcast.kernels.attention import Attention
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.op import Cost

H100 = device_named("H100_SXM")
SHAPES = ((2048, 2048), (4096, 4096), (14336, 4096), (128256, 2048))


def timed(start_us: float, fraction: float, read_gbs: float = 20.0) -> list[Evidence]:
    found = []
    for n, k in SHAPES:
        workload = Gemv(n=n, k=k, weight_format="bf16")
        time_us = start_us + workload.cost().streamed_bytes / (fraction * read_gbs) / 1e3
        found.append(Evidence(workload, 0.99 * time_us, time_us, 1.01 * time_us, read_gbs, 1e11, start_us, fraction))
    return found


def cost_of(intensity: float) -> Cost:
    return Cost(flops=intensity * 1e6, reads={"w": 1e6}, writes={}, streamed=frozenset({"w"}))


def test_scaling_goes_with_bandwidth_where_memory_binds_and_with_the_peak_where_arithmetic_does() -> None:
    ridge = 100.0
    memory = scaled_us(100, cost_of(1e-9), bandwidth_ratio=4, peak_ratio=1000, ridge=ridge)
    compute = scaled_us(100, cost_of(1e9), bandwidth_ratio=4, peak_ratio=1000, ridge=ridge)
    assert memory == pytest.approx(25)
    assert compute == pytest.approx(0.1)
    # At the ridge point both weigh the same.
    assert scaled_us(100, cost_of(ridge), bandwidth_ratio=4, peak_ratio=1000, ridge=ridge) == pytest.approx(
        100 / math.sqrt(4000)
    )


@given(st.floats(1e-3, 1e6), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(1e-3, 1e4))
@settings(max_examples=50, deadline=None)
def test_scaling_there_and_back_is_where_it_began(time_us: float, bandwidth: float, peak: float, intensity: float) -> None:
    cost = cost_of(intensity)
    there = scaled_us(time_us, cost, bandwidth_ratio=bandwidth, peak_ratio=peak, ridge=100)
    assert scaled_us(there, cost, bandwidth_ratio=1 / bandwidth, peak_ratio=1 / peak, ridge=100) == pytest.approx(time_us)
    assert scaled_us(time_us, cost, bandwidth_ratio=1, peak_ratio=1, ridge=100) == pytest.approx(time_us)


def test_streaming_time_is_the_design_formula() -> None:
    cost = Cost(flops=0, reads={"w": 335e6}, writes={}, streamed=frozenset({"w"}))
    found = streamed_us(cost, 0.85, start_us=2.7, bandwidth_gbs=3350)
    assert found == pytest.approx(2.7 + 100 / 0.85)


@pytest.mark.parametrize("share", [1.0, 0.125])
@pytest.mark.parametrize("fraction", [0.2, 0.9, 1.0])
def test_nothing_beats_the_floor_and_the_interval_holds_the_point(share: float, fraction: float) -> None:
    for one in timed(0.0, fraction):
        found = carry(one, H100, share=share)
        floor_us = one.workload.cost().streamed_bytes * share / H100.main.bandwidth_gbs.value / 1e3
        assert found.floor_us == pytest.approx(floor_us)
        assert found.floor_us <= found.low_us <= found.point_us <= found.high_us


def test_a_chip_with_more_devices_does_its_share() -> None:
    one = timed(0.0, 0.9)[-1]
    whole, eighth = (carry(one, H100, share=share) for share in (1.0, 1 / 8))
    start_us = H100.launch_us.value if H100.launch_us else 0.0
    assert eighth.point_us - start_us == pytest.approx((whole.point_us - start_us) / 8)


def test_the_peak_is_looked_up_by_what_streams() -> None:
    assert compute_format(Gemv(n=1, k=1, weight_format="bf16")) == "bf16"
    assert compute_format(Activation(function="silu", gated=False, d=4)) == "f32"
    attention = Attention(
        heads=1, kv_heads=1, context=1, head_dim=1, value_dim=1, scale_dim=1, kv_format="bf16", activation_format="f32"
    )
    assert compute_format(attention) == "bf16"
