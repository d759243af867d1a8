"""Verdicts, and the rates of the whole decision by simulation of a machine that drifts by a factor of two."""

import numpy as np
import pytest
from roofcast.harness.gate.pair import Estimate, estimate
from roofcast.harness.gate.verdict import Policy, Verdict, confirmed, exact_changes, exit_code, first_look

POLICY = Policy()
QUADS = 64
KERNELS = 20


def sure(point, half=0.005, p=1e-6):
    return Estimate(point - half, point, point + half, p, 24)


def ruling(estimate):
    return first_look({("gemv", "latency"): estimate}, POLICY)["gemv", "latency"].ruling


def test_rulings_of_a_first_look():
    assert ruling(sure(0.06)) == "slower"
    assert ruling(sure(-0.06)) == "faster"
    assert ruling(sure(0.01)) == "same"
    assert ruling(Estimate(-0.05, 0.01, 0.06, 0.4, 24)) == "inconclusive"
    assert ruling(Estimate(-0.02, 0.06, 0.12, 0.2, 24)) == "inconclusive"


def test_a_change_of_compile_time_has_its_own_least_size():
    assert first_look({("gemv", "compile time"): sure(0.06)}, POLICY)["gemv", "compile time"].ruling == "same"


def test_what_is_significant_alone_is_not_among_many():
    lone = {(0, "latency"): sure(0.05, p=0.008)}
    many = lone | {(n, "latency"): sure(0.0, p=0.5) for n in range(1, 20)}
    assert first_look(lone, POLICY)[0, "latency"].ruling == "slower"
    assert not first_look(many, POLICY)[0, "latency"].is_change


SUSPICION = Verdict("slower", "+6 % in 24 interleaved comparisons", sure(0.06))


@pytest.mark.parametrize(
    ("fresh", "expected"),
    [
        ([sure(0.06), sure(0.05)], "slower"),
        ([sure(0.06), sure(0.0)], "inconclusive"),
        ([sure(0.01), sure(0.0)], "same"),
        ([sure(0.05), sure(-0.02)], "inconclusive"),
        ([sure(-0.06), sure(-0.06)], "inconclusive"),
        ([sure(0.06), sure(0.06, p=0.2)], "inconclusive"),
        ([sure(0.06)], "inconclusive"),
    ],
)
def test_a_suspicion_is_confirmed_only_by_all_fresh_processes(fresh, expected):
    assert confirmed(SUSPICION, fresh, POLICY.least_shift("latency"), POLICY).ruling == expected


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

    A quad's samples lie one after the other; every process has its own speed, one percent from the other's; and one
    sample in twenty is hit by a neighbour.
    """
    steps = rng.normal(0, 0.04, size=(QUADS, KERNELS, 4)).reshape(-1)
    # Reflected at both ends.
    level = np.abs((np.cumsum(steps) + rng.uniform(0, 2)) % 2 - 1) * np.log(2)
    noise = rng.normal(0, 0.02, size=level.shape) + (rng.random(level.shape) < 0.05) * rng.exponential(0.5, size=level.shape)
    times = (level + noise).reshape(QUADS, KERNELS, 4)
    coin = rng.choice([-1, 1], size=(QUADS, KERNELS))
    ratios = coin * (times @ np.array([1, -1, -1, 1])) / 2 + slowdown + rng.normal(0, 0.01, size=KERNELS)
    return [estimate(column) for column in ratios.T]


def verdicts(rng, slowdown):
    """The whole decision: a first look at all kernels, and fresh processes for those under suspicion."""
    first = run_of(rng, slowdown)
    look = first_look({(n, "latency"): one for n, one in enumerate(first)}, POLICY)
    suspicions = {n: one for (n, _), one in look.items() if one.is_change}
    if not suspicions:
        return [one.ruling for one in look.values()]
    fresh = [run_of(rng, slowdown) for _ in range(POLICY.confirmations)]
    least = POLICY.least_shift("latency")
    return [
        confirmed(suspicions[n], [run[n] for run in fresh], least, POLICY).ruling if n in suspicions else one.ruling
        for (n, _), one in look.items()
    ]


def rate(slowed, percent, trials, word):
    """Share of the kernels, `slowed` of them made slower, of whom the word is said."""
    rng = np.random.default_rng(5)
    slowdown = np.zeros(KERNELS)
    slowdown[:slowed] = np.log1p(percent / 100)
    said = [verdicts(rng, slowdown) for _ in range(trials)]
    return np.mean([[one in word for one in trial[: slowed or KERNELS]] for trial in said])


def test_unchanged_kernels_are_called_changed_less_than_once_in_a_thousand():
    assert rate(0, 0, 200, ("slower", "faster")) <= 1e-3


def test_five_percent_is_found_nine_times_in_ten():
    assert rate(4, 5, 100, ("slower",)) >= 0.9


def test_ten_percent_is_found_ninety_nine_times_in_a_hundred():
    assert rate(4, 10, 100, ("slower",)) >= 0.99
