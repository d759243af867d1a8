"""The statistics of interleaved pairs, against scipy's and by simulation of a machine that drifts."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness.gate.pair import Quad, estimate, judged, order
from scipy import stats

SHIFTS = st.lists(st.floats(-1, 1).filter(lambda x: abs(x) > 1e-6), min_size=6, max_size=30, unique_by=abs)


@given(SHIFTS)
def test_p_is_that_of_the_exact_signed_rank_test(shifts):
    ours = estimate(np.array(shifts)).p
    assert ours == pytest.approx(stats.wilcoxon(shifts, method="exact").pvalue)


@given(SHIFTS, st.floats(-2, 2))
def test_the_estimate_moves_with_the_samples(shifts, by):
    one, other = estimate(np.array(shifts)), estimate(np.array(shifts) + by)
    assert (other.low, other.point, other.high) == pytest.approx((one.low + by, one.point + by, one.high + by), abs=1e-9)


@given(SHIFTS)
def test_exchanging_the_revisions_turns_the_estimate_round(shifts):
    one, other = estimate(np.array(shifts)), estimate(-np.array(shifts))
    assert (other.low, other.point, other.high, other.p) == pytest.approx((-one.high, -one.point, -one.low, one.p))


def test_the_interval_covers_as_often_as_it_says():
    rng = np.random.default_rng(0)
    found = [estimate(rng.standard_t(2, size=20) + 1.0) for _ in range(2000)]
    assert 0.94 <= np.mean([one.low <= 1.0 <= one.high for one in found]) <= 0.97


def test_one_wild_quad_moves_the_estimate_hardly_at_all():
    calm = np.linspace(-0.01, 0.01, 15)
    assert abs(estimate(np.append(calm, 5.0)).point) < 0.005


def test_few_quads_have_no_interval_and_no_significance():
    one = estimate(np.array([0.1, 0.2, 0.3]))
    assert (one.low, one.high) == (-math.inf, math.inf)
    assert one.p == pytest.approx(0.25)


def test_no_difference_at_all_is_no_evidence():
    assert estimate(np.zeros(20)).p == 1.0


def test_no_samples_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        estimate(np.array([]))


def test_a_steady_drift_cancels_inside_a_quad():
    rng = np.random.default_rng(1)
    for _ in range(4):
        times = {"base": [], "head": []}
        for place, side in enumerate(order(rng)):
            times[side].append(math.exp(0.3 * place))
        assert Quad(tuple(times["base"]), tuple(times["head"])).log_ratio == pytest.approx(0)


def test_both_orders_are_drawn():
    rng = np.random.default_rng(2)
    assert {order(rng)[0] for _ in range(20)} == {"base", "head"}


def test_disturbed_quads_are_set_aside():
    calm = [Quad((1.0, 1.0 + n / 1000), (1.05, 1.05)) for n in range(1, 9)]
    disturbed = [Quad((1.0, 3.0), (1.0, 1.1)) for _ in range(4)]
    found = judged([*disturbed, *calm])
    assert found.count == 8
    assert found.point == pytest.approx(math.log(1.05), abs=0.005)


def test_compile_times_are_all_judged():
    assert judged([Quad((1.0,), (1.0 + n / 100,)) for n in range(9)]).count == 9


def test_choosing_calm_quads_leaves_the_false_alarms_as_rare_as_they_are_said_to_be():
    rng = np.random.default_rng(3)

    def p():
        times = np.exp(rng.normal(0, 0.02, (40, 4)) + (rng.random((40, 4)) < 0.3) * rng.exponential(0.7, (40, 4)))
        return judged([Quad(tuple(row[:2]), tuple(row[2:])) for row in times.tolist()]).p

    assert 0.03 <= np.mean([p() <= 0.05 for _ in range(1000)]) <= 0.07


def test_each_sample_of_a_slowed_quad_is_charged_for_a_share_of_the_other():
    assert Quad((1.0, 1.0), (1.0, 2.0)).slowed(0.05).head == pytest.approx((1.1, 2.05))
