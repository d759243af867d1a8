"""Verdicts, and the rates of the whole decision by simulation of a machine that drifts by a factor of two."""

import numpy as np
import pytest
from roofcast.harness.gate.pair import Estimate, Quad, judged
from roofcast.harness.gate.verdict import (
    Policy,
    exact_changes,
    exit_code,
    looked_again,
    of_one_look,
    settled,
    suspicions,
    undecided,
)

POLICY = Policy()
QUADS = 64
KERNELS = 10
KEY = ("gemv", "latency")


def sure(point, half=0.005, p=1e-6):
    return Estimate(point - half, point, point + half, p, 24)


def ruling(estimate):
    return of_one_look({KEY: estimate}, POLICY)[KEY].ruling


def test_rulings_of_one_look():
    assert ruling(sure(0.06)) == "slower"
    assert ruling(sure(-0.06)) == "faster"
    assert ruling(sure(0.01)) == "same"
    assert ruling(Estimate(-0.05, 0.01, 0.06, 0.4, 24)) == "inconclusive"
    assert ruling(Estimate(-0.02, 0.06, 0.12, 0.2, 24)) == "inconclusive"


def test_a_change_of_compile_time_has_its_own_least_size():
    key = ("gemv", "compile time")
    assert of_one_look({key: sure(0.06)}, POLICY)[key].ruling == "same"
    assert suspicions({key: sure(0.04)}, POLICY) == []
    assert suspicions({key: sure(-0.06)}, POLICY) == [key]


def test_what_is_significant_alone_is_not_among_many():
    lone = {(0, "latency"): sure(0.05, p=0.008)}
    many = lone | {(n, "latency"): sure(0.0, p=0.5) for n in range(1, 20)}
    assert of_one_look(lone, POLICY)[0, "latency"].ruling == "slower"
    assert of_one_look(many, POLICY)[0, "latency"].ruling == "inconclusive"


def test_half_the_least_change_is_looked_at_again_however_unsure():
    assert suspicions({KEY: sure(0.014)}, POLICY) == []
    assert suspicions({KEY: Estimate(-0.1, 0.016, 0.2, 0.7, 24)}, POLICY) == [KEY]


def of_fresh(*points, first=0.06, p=1e-6, policy=POLICY):
    fresh = [sure(point, p=p) for point in points]
    return settled({KEY: sure(first)}, {KEY: fresh}, policy)[KEY].ruling


@pytest.mark.parametrize(
    ("points", "expected"),
    [
        ((0.06, 0.05, 0.05, 0.06), "slower"),
        # One pair may lie badly in memory.
        ((0.06, 0.05, 0.01, 0.06), "slower"),
        # Where all do, three may agree by chance.
        ((0.06, 0.05, -0.08, 0.06), "inconclusive"),
        ((0.16, 0.02, 0.04, 0.06), "inconclusive"),
        ((0.12, 0.0, 0.0, 0.01), "same"),
        ((0.12, 0.12, 0.0, 0.0), "inconclusive"),
        ((0.02, 0.02, 0.02, 0.04), "same"),
        ((-0.06, -0.05, -0.05, -0.06), "faster"),
        ((0.06, 0.06, 0.06), "inconclusive"),
        ((), "inconclusive"),
    ],
)
def test_fresh_processes_alone_decide(points, expected):
    assert of_fresh(*points) == expected
    assert of_fresh(*points, first=-0.06) == expected


def test_pairs_too_short_for_an_interval_never_say_same():
    short = Estimate(-np.inf, 0.001, np.inf, 0.5, 2)
    assert settled({KEY: sure(0.06)}, {KEY: [short, short]}, POLICY)[KEY].ruling == "inconclusive"


def test_what_a_fresh_look_gives_nothing_of_is_not_asked_for_again():
    asked = []
    fresh = looked_again(
        {KEY: sure(0.06), (1, "latency"): sure(0.06)}, POLICY, 0.0, lambda keys, _: asked.append(keys) or {KEY: sure(0.06)}
    )
    assert asked[0] == [KEY, (1, "latency")]
    assert asked[1:] == [[KEY]] * (POLICY.confirmations - 1)
    assert fresh == {KEY: [sure(0.06)] * POLICY.confirmations, (1, "latency"): []}


def test_pairs_that_scatter_as_far_as_they_differ_are_not_sure():
    assert of_fresh(0.03, 0.12, 0.02, 0.06) == "inconclusive"
    assert of_fresh(0.03, 0.12, 0.02, 0.06, 0.05, 0.04, 0.05, 0.06) == "slower"


def test_one_pair_alone_is_as_sure_as_its_quads():
    alone = Policy(confirmations=1)
    assert of_fresh(0.06, policy=alone) == "slower"
    assert of_fresh(0.06, p=0.2, policy=alone) == "inconclusive"


def test_what_is_sure_alone_is_not_among_many():
    fresh = {KEY: [sure(point) for point in (0.03, 0.05, 0.06, 0.03)]}
    assert settled({KEY: sure(0.06)}, fresh, POLICY)[KEY].ruling == "slower"
    many = {KEY: sure(0.06)} | {(n, "latency"): sure(0.0) for n in range(20)}
    assert settled(many, fresh, POLICY)[KEY].ruling == "inconclusive"


@pytest.mark.parametrize(
    ("points", "is_open"),
    [
        ((), True),
        ((0.06,), True),
        ((0.005, -0.01), False),
        ((0.005, -0.02), True),
        ((0.06, 0.06, 0.05), True),
        ((0.06, 0.06, 0.05, 0.06), False),
        ((0.06, 0.06, 0.0, 0.0), True),
        ((0.06, 0.06, 0.0, 0.0) * 4, False),
        ((0.06, 0.06, 0.0, 0.0) * 2, True),
    ],
)
def test_pairs_are_added_until_they_decide(points, is_open):
    fresh = {KEY: [sure(point) for point in points]}
    assert bool(undecided({KEY: sure(0.06)}, fresh, POLICY)) == is_open


def test_exact_quantities_are_compared_exactly():
    base = {"flops": 1000.0, "bytes": 10.0, "peak memory": None}
    assert exact_changes(base, {"flops": 1001.0, "bytes": 10.0, "peak memory": 4.0}) == {"flops": (1000.0, 1001.0)}


@pytest.mark.parametrize(
    ("rulings", "newly_wrong", "fails", "code"),
    [
        (["same", "faster"], False, True, 0),
        (["same", "inconclusive"], False, False, 0),
        (["same", "inconclusive"], False, True, 2),
        (["slower", "inconclusive"], False, True, 1),
        ([], True, False, 1),
    ],
)
def test_exit_codes(rulings, newly_wrong, fails, code):
    assert exit_code(rulings, newly_wrong=newly_wrong, inconclusive_fails=fails) == code


def run_of(rng, slowdown):
    """Estimates of one pair of processes on a machine whose speed walks at random between its full and half.

    A quad's samples lie one after the other and scatter by 4 %; every process has its own speed, one percent from the
    other's and in one kernel of ten five percent; and one sample in twenty is hit by a neighbour.
    """
    steps = rng.normal(0, 0.04, size=(QUADS, KERNELS, 4)).reshape(-1)
    # Reflected at both ends.
    level = np.abs((np.cumsum(steps) + rng.uniform(0, 2)) % 2 - 1) * np.log(2)
    noise = rng.normal(0, 0.04, size=level.shape) + (rng.random(level.shape) < 0.05) * rng.exponential(0.5, size=level.shape)
    times = (level + noise).reshape(QUADS, KERNELS, 4)
    apart = rng.normal(0, np.where(rng.random(KERNELS) < 0.1, 0.05, 0.01))
    # By the toss of a coin, base head head base or the reverse.
    outer, inner = times[..., [0, 3]], times[..., [1, 2]]
    coin = rng.choice([True, False], size=(QUADS, KERNELS, 1))
    base = np.exp(np.where(coin, outer, inner))
    head = np.exp(np.where(coin, inner, outer) + (slowdown + apart)[:, None])
    return {
        (n, "latency"): judged([Quad(tuple(one), tuple(other)) for one, other in zip(base[:, n], head[:, n], strict=True)])
        for n in range(KERNELS)
    }


def verdicts(rng, slowdown):
    """The whole decision: a first look at all kernels, and fresh processes for those under suspicion."""
    first = run_of(rng, slowdown)
    fresh = {key: [] for key in suspicions(first, POLICY)}
    while wanted := undecided(first, fresh, POLICY):
        again = run_of(rng, slowdown)
        for key in wanted:
            fresh[key].append(again[key])
    return [one.ruling for one in settled(first, fresh, POLICY).values()]


def rate(slowed, percent, trials, word):
    """Share of the kernels, `slowed` of them made slower, of whom the word is said."""
    rng = np.random.default_rng(5)
    slowdown = np.zeros(KERNELS)
    slowdown[:slowed] = np.log1p(percent / 100)
    said = [verdicts(rng, slowdown) for _ in range(trials)]
    return np.mean([[one in word for one in trial[: slowed or KERNELS]] for trial in said])


def test_unchanged_kernels_are_hardly_ever_called_changed():
    assert rate(0, 0, 100, ("slower", "faster")) <= 2e-3


def test_five_percent_is_found_nine_times_in_ten():
    assert rate(5, 5, 30, ("slower",)) >= 0.9


def test_ten_percent_is_found_ninety_nine_times_in_a_hundred():
    assert rate(5, 10, 30, ("slower",)) >= 0.99
