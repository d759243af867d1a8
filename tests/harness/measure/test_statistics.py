"""Intervals hold what they claim to, and disturbance is told from calm."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.measure.statistics import Interval, calm, calm_level, disturbance, median_interval
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
    levels = np.array([calm_level(rates[:, 0]), calm_level(rates[:, 1])])
    mask = calm(rates, levels, 0.15)
    assert mask.sum() == 20
    assert not mask[10:30].any()


def test_a_run_that_is_disturbed_throughout_is_seen_by_what_is_usual() -> None:
    rates = np.full((20, 1), 10.0)
    assert calm(rates, np.array([calm_level(rates[:, 0])]), 0.15).all()
    levels = np.array([calm_level(rates[:, 0], usual=20.0)])
    assert not calm(rates, levels, 0.15).any()
    assert disturbance(rates, levels) == pytest.approx(0.5)


def test_the_calm_level_is_neither_the_median_nor_one_lucky_sample() -> None:
    rates = np.array([10.0] * 18 + [20.0] * 12 + [90.0])
    assert calm_level(rates) == 20.0
