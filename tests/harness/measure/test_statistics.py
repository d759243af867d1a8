"""Intervals hold what they claim to, and disturbance is told from calm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.measure.statistics import Calm, Interval, disturbance, median_interval, speeds
from scipy import stats


def test_the_interval_of_a_median_holds_it_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    held = [one.low <= 1.0 <= one.high for one in (median_interval(rng.lognormal(0, 0.2, 25)) for _ in range(300))]
    # 95 % nominal; the percentile bootstrap of a median of 25 is known to be within a few points of it.
    assert 0.90 <= np.mean(held) <= 0.99


@pytest.mark.parametrize("count", [2, 7, 40])
def test_the_interval_is_scipys(count: int) -> None:
    values = np.random.default_rng(count).lognormal(size=count)
    theirs = stats.bootstrap((values,), np.median, n_resamples=999, method="percentile", rng=np.random.default_rng(0))
    ours = median_interval(values)
    np.testing.assert_allclose((ours.low, ours.high), theirs.confidence_interval, rtol=1e-12)


@given(st.lists(st.floats(0.1, 1e6), min_size=2, max_size=40), st.floats(0.001, 1000))
@settings(max_examples=30, deadline=None)
def test_an_interval_scales_with_its_samples_and_holds_the_point(values: list[float], factor: float) -> None:
    one, other = median_interval(np.array(values)), median_interval(factor * np.array(values))
    assert one.low <= one.point <= one.high
    assert other.point == pytest.approx(factor * one.point)
    assert other.high == pytest.approx(factor * one.high)


def test_one_sample_has_no_spread_to_learn_from() -> None:
    assert median_interval(np.array([3.0])) == Interval(0.0, 3.0, math.inf)
    assert median_interval(np.array([3.0])).relative_half_width == math.inf
    assert median_interval(np.array([2.0, 2.0, 2.0])) == Interval(2.0, 2.0, 2.0)


def test_a_neighbour_that_takes_half_of_the_arithmetic_is_seen_though_memory_is_steady() -> None:
    rates = np.full((40, 2), (20.0, 100.0))
    rates[10:30, 1] = 50.0
    bands = np.stack([Calm.of(rates[:, place]).band(rates[:, place], 0.15) for place in (0, 1)])
    assert (bands[0] == 0).all()
    assert set(np.flatnonzero(bands[1] < 0)) == set(range(10, 30))


def test_a_run_that_is_disturbed_throughout_is_seen_by_what_is_usual() -> None:
    rates = np.full(20, 10.0)
    assert (Calm.of(rates).band(rates, 0.15) == 0).all()
    usually = Calm.of(rates, usual=20.0)
    assert (usually.band(rates, 0.15) < 0).all()
    assert disturbance(rates[:, None], np.array([usually.level])) == pytest.approx(0.5)


def test_the_calm_level_is_neither_the_median_nor_one_lucky_sample() -> None:
    assert Calm.of(np.array([10.0] * 18 + [20.0] * 12 + [90.0])).level == 20.0


NOISE = np.random.default_rng(0)
SLOW, FAST = NOISE.normal(33, 1, 100), NOISE.normal(54, 1.5, 60)


def test_a_memory_with_two_speeds_is_calm_at_both_and_not_between_them() -> None:
    both = np.concatenate([SLOW, FAST])
    assert speeds(both) == pytest.approx((54, 33), rel=0.02)
    calm = Calm.of(both, has_speeds=True)
    assert list(calm.band(np.array([54.0, 47.0, 42.0, 33.0, 29.0, 20.0]), 0.15)) == [0, 0, -1, 1, 1, -1]
    # The probe of a core has one speed: what slows it is a neighbour.
    assert Calm.of(both).slower is None


@pytest.mark.parametrize(
    "scattered",
    [NOISE.uniform(15, 33, 100), np.concatenate([SLOW, NOISE.uniform(10, 30, 40)]), NOISE.lognormal(3, 0.5, 200)],
    ids=["evenly", "below", "widely"],
)
def test_a_neighbour_who_comes_and_goes_makes_no_second_speed(scattered: np.ndarray) -> None:
    assert speeds(scattered)[1] is None


def test_a_few_fast_samples_are_no_level_that_others_are_held_against() -> None:
    rates = np.concatenate([SLOW, FAST[:10]])
    assert speeds(rates)[0] == pytest.approx(34, rel=0.05)
    assert speeds(rates)[1] is None
    assert (Calm.of(rates, has_speeds=True).band(rates, 0.15) == 0).mean() > 0.95


def test_a_run_that_keeps_to_one_speed_is_calm_though_another_is_usual() -> None:
    assert (Calm.of(SLOW, usual=54.0, has_speeds=True).band(SLOW, 0.15) == 1).mean() > 0.95
    scattered = NOISE.uniform(15, 45, 100)
    assert Calm.of(scattered, usual=54.0, has_speeds=True).slower is None


@pytest.mark.parametrize("count", range(1, 8))
def test_few_samples_have_one_speed(count: int) -> None:
    assert speeds(np.arange(1.0, count + 1))[1] is None
