"""Interleaved sampling against simulated machines: what drifts, what is disturbed, what runs out."""

import math
from collections.abc import Callable, Iterator
from itertools import repeat

import numpy as np
import pytest
from roofcast.harness.measure.rounds import Follows, Series, Stopping, calm_samples, levels_of, measure

STOPPING = Stopping(precision=0.02, min_samples=8, max_samples=200, budget_s=30)


class Machine:
    """A clock that only the simulation moves, and a speed that drifts."""

    def __init__(self, speeds: Iterator[float]) -> None:
        self.speeds = speeds
        self.noise = np.random.default_rng(0)

    def probe(self, rate: float) -> Callable[[], float]:
        return lambda: rate * next(self.speeds) * float(self.noise.normal(1, 0.005))

    def kernel(self, seconds: float) -> Callable[[], float]:
        return lambda: seconds / next(self.speeds) * float(self.noise.normal(1, 0.005))


def ratio(series: Series) -> float:
    return float(np.median(1 / (np.array(series.seconds) * np.array(series.rates)[:, 0])))


def test_a_ratio_survives_a_machine_that_drifts_by_two() -> None:
    speeds = (1 + 0.5 * np.sin(n / 300) for n in range(10**9))
    machine = Machine(iter(speeds))
    kernels = {"fast": machine.kernel(0.1), "slow": machine.kernel(0.2)}
    series = measure(kernels, [machine.probe(10.0)], STOPPING, usual=[None], seed=0)
    assert ratio(series["fast"]) == pytest.approx(1.0, rel=0.03)
    assert ratio(series["fast"]) / ratio(series["slow"]) == pytest.approx(2.0, rel=0.03)


def test_every_kernel_meets_the_same_moments_in_random_order() -> None:
    order: list[str] = []
    kernels = {name: (lambda name=name: (order.append(name), 0.1)[1]) for name in "abcd"}
    measure(kernels, [lambda: 1.0], Stopping(0.5, 12, 12, 30), usual=[None], seed=3)
    rounds = ["".join(order[n : n + 4]) for n in range(0, len(order), 4)]
    assert all(sorted(one) == list("abcd") for one in rounds)
    assert len(set(rounds)) > 1


def test_precision_ends_sampling_and_says_so() -> None:
    machine = Machine(repeat(1.0))
    (series,) = measure({"one": machine.kernel(0.1)}, [machine.probe(1.0)], STOPPING, usual=[None], seed=0).values()
    assert series.stop_reason.startswith("precision reached")
    assert len(series.seconds) < STOPPING.max_samples


def test_a_noisy_kernel_ends_at_the_sample_limit() -> None:
    noise = np.random.default_rng(0)
    kernels = {"one": lambda: float(noise.lognormal(0, 1))}
    (series,) = measure(kernels, [lambda: 1.0], Stopping(0.001, 5, 40, 30), usual=[None], seed=0).values()
    assert series.stop_reason.startswith("sample limit reached: 40 samples")


def test_a_spent_budget_ends_sampling_whatever_the_precision() -> None:
    noise = np.random.default_rng(0)
    kernels = {"one": lambda: float(noise.lognormal(0, 1))}
    (series,) = measure(kernels, [lambda: 1.0], Stopping(1e-9, 5, 10**9, 0.2), usual=[None], seed=0).values()
    assert series.stop_reason.startswith("time budget of 0.2 s spent")
    assert series.seconds


def test_a_disturbed_stretch_is_sampled_through_and_set_aside_but_kept() -> None:
    memory = iter([20.0] * 10**6)
    # A neighbour holds the arithmetic at half for samples 20 to 60; memory never shows it.
    arithmetic = iter([100.0] * 21 + [50.0] * 40 + [100.0] * 10**6)
    state = {"slow": False}

    def multiply_add() -> float:
        rate = next(arithmetic)
        state["slow"] = rate < 100
        return rate

    kernels = {"one": lambda: 0.2 if state["slow"] else 0.1}
    stopping = Stopping(precision=1e-9, min_samples=40, max_samples=120, budget_s=30)
    (series,) = measure(kernels, [lambda: next(memory), multiply_add], stopping, usual=[None, None], seed=0).values()
    quiet = calm_samples(series, levels_of([series], [None, None]), Follows((0, 1), 0))
    assert len(series.seconds) == len(quiet) > quiet.sum() >= 40
    assert set(np.array(series.seconds)[quiet]) == {0.1}
    assert 0.2 in series.seconds


def test_a_kernel_that_follows_its_core_survives_a_core_that_is_slow_from_sample_to_sample() -> None:
    # The core changes whenever the memory is swept, so that only what is right beside a sample meets the same one.
    core = np.random.default_rng(0)
    state = {"speed": 1.0}
    noise = np.random.default_rng(1)

    def read() -> float:
        state["speed"] = float(core.choice([1.0, 0.6]))
        return 30.0

    def near() -> float:
        return 8.0 * state["speed"] * float(noise.normal(1, 0.005))

    kernels = {name: (lambda: 0.1 / state["speed"] * float(noise.normal(1, 0.005))) for name in ("core", "memory")}
    stopping = Stopping(precision=0.01, min_samples=8, max_samples=100, budget_s=30)
    follows = {"core": Follows((1,), None), "memory": Follows((0,), 0)}
    series = measure(kernels, [read], stopping, usual=[None, None], seed=0, next_to=[near], follows=follows)
    levels = levels_of(series.values(), [None, None])
    assert [one.level for one in levels] == pytest.approx([30.0, 8.0], rel=0.02)
    quiet = calm_samples(series["core"], levels, follows["core"])
    assert 0 < quiet.sum() < len(quiet)
    assert np.array(series["core"].seconds)[quiet] == pytest.approx(0.1, rel=0.03)
    assert series["core"].stop_reason.startswith("precision reached")
    # To the probe of the memory all is calm, and a kernel whose core is slow by turns has no narrow median.
    assert calm_samples(series["memory"], levels, follows["memory"]).all()
    assert series["memory"].stop_reason.startswith("sample limit reached")


def test_progress_counts_the_kernels_that_are_done_and_says_how_well_the_least_is_known() -> None:
    told: list[tuple[int, int, float]] = []
    kernels = {name: (lambda: 0.1) for name in "ab"}
    stopping = Stopping(0.5, 3, 10, 30)

    def progress(name: str, done: int, total: int, precision: float) -> None:
        told.append((done, total, precision))

    measure(kernels, [lambda: 1.0], stopping, usual=[None], seed=0, progress=progress)
    assert told == [(0, 2, math.inf), (0, 2, math.inf), (2, 2, 0.0)]
