"""The two carrying rules: conservation, limits, floors, and the same machine carried to itself."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.calibrate.carry import carry, compute_format, scaled_us, streamed_us
from roofcast.harness.calibrate.efficiency import Efficiency, Evidence, fit, group_of
from roofcast.harness.devices import device_named
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
        found.append(Evidence(workload, 0.99 * time_us, time_us, 1.01 * time_us, read_gbs, 1e11))
    return found


@pytest.mark.parametrize(("start_us", "fraction"), [(0.0, 1.0), (5.0, 0.8), (50.0, 0.6), (0.0, 0.33)])
def test_a_fit_finds_the_start_up_and_the_fraction_that_made_the_times(start_us: float, fraction: float) -> None:
    found = fit(timed(start_us, fraction))["gemv bf16"]
    assert found.fraction == pytest.approx(fraction, rel=1e-6)
    assert found.start_us == pytest.approx(start_us, abs=1e-3)
    assert found.calls == len(SHAPES)


def test_a_fit_never_claims_more_than_the_bandwidth() -> None:
    assert fit(timed(0.0, 1.3))["gemv bf16"].fraction == 1.0


def test_one_size_puts_all_of_the_time_down_to_the_fraction() -> None:
    found = fit(timed(10.0, 0.8)[:1])["gemv bf16"]
    assert found.start_us == 0.0
    assert found.fraction < 0.8


def test_two_runs_of_one_size_are_still_one_size() -> None:
    shapes = (Gemv(n=2048, k=2048, weight_format="bf16"), Gemv(n=1024, k=4096, weight_format="bf16"))
    found = fit([Evidence(one, 500, 500, 500, read_gbs, 1e11) for one, read_gbs in zip(shapes, (20.0, 21.0), strict=True)])
    assert found["gemv bf16"].start_us == 0.0


def test_a_kernel_that_streams_nothing_is_all_start_up() -> None:
    workload = Activation(function="silu", gated=True, d=8192)
    assert fit([Evidence(workload, 4, 5, 6, 20, 1e11)])["activation"] == Efficiency(5.0, 1.0, 1)
    assert group_of(workload) == "activation"


def test_formats_do_not_share_an_efficiency() -> None:
    assert group_of(Gemv(n=1, k=1, weight_format="f32")) != group_of(Gemv(n=1, k=1, weight_format="bf16"))


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
    found = streamed_us(cost, Efficiency(9.9, 0.85, 5), start_us=2.7, bandwidth_gbs=3350)
    assert found == pytest.approx(2.7 + 100 / 0.85)


@pytest.mark.parametrize("share", [1.0, 0.125])
@pytest.mark.parametrize("fraction", [0.2, 0.9, 1.0])
def test_nothing_beats_the_floor_and_the_interval_holds_the_point(share: float, fraction: float) -> None:
    members = timed(0.0, fraction)
    efficiency = fit(members)["gemv bf16"]
    for one in members:
        found = carry(one, efficiency, H100, share=share)
        floor_us = one.workload.cost().streamed_bytes * share / H100.main.bandwidth_gbs.value / 1e3
        assert found.floor_us == pytest.approx(floor_us)
        assert found.floor_us <= found.low_us <= found.point_us <= found.high_us


def test_a_chip_with_more_devices_does_its_share() -> None:
    one = timed(0.0, 0.9)[-1]
    efficiency = fit(timed(0.0, 0.9))["gemv bf16"]
    whole, eighth = (carry(one, efficiency, H100, share=share) for share in (1.0, 1 / 8))
    start_us = H100.launch_us.value if H100.launch_us else 0.0
    assert eighth.point_us - start_us == pytest.approx((whole.point_us - start_us) / 8)


def test_the_peak_is_looked_up_by_what_streams() -> None:
    assert compute_format(Gemv(n=1, k=1, weight_format="bf16")) == "bf16"
    assert compute_format(Activation(function="silu", gated=False, d=4)) == "f32"
    attention = Attention(
        heads=1, kv_heads=1, context=1, head_dim=1, value_dim=1, scale_dim=1, kv_format="bf16", activation_format="f32"
    )
    assert compute_format(attention) == "bf16"
