"""The fixture `benchmark` of pytest-benchmark, held inside the call that a test benchmarks."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from .sampling import Held, calls_per_sample, sample

if TYPE_CHECKING:
    from .suite import Suite


class Fixture:
    """A plug-in of pytest with the fixture alone."""

    def __init__(self, suite: Suite) -> None:
        self._suite = suite

    @pytest.fixture
    def benchmark(self, benchmark: BenchmarkFixture) -> BenchmarkFixture:
        """pytest-benchmark's own, which insists on its type, with the two ways to call it changed."""
        benchmark.__class__ = Interleaved
        benchmark.suite = self._suite  # type: ignore[attr-defined]
        return benchmark


class Interleaved(BenchmarkFixture):
    """Stays in the call that is benchmarked as long as samples are asked for; then the test goes on as without timing."""

    suite: Suite

    def __call__(self, function_to_benchmark: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        def held() -> Held:
            def call() -> Any:
                return function_to_benchmark(*args, **kwargs)

            return Held(False, calls_per_sample(call), lambda calls: sample(call, calls))

        self.suite.hold(held)
        return super().__call__(function_to_benchmark, *args, **kwargs)

    def pedantic(
        self,
        target: Callable[..., Any],
        args: Any = (),
        kwargs: Any = None,
        setup: Callable[[], Any] | None = None,
        teardown: Callable[..., Any] | None = None,
        rounds: int = 1,
        warmup_rounds: int = 0,
        iterations: int = 1,
    ) -> Any:
        def take(calls: int) -> float:
            given = (setup() if setup else None) or (args, kwargs or {})
            seconds = sample(lambda: target(*given[0], **given[1]), calls)
            if teardown:
                teardown(*given[0], **given[1])
            return seconds

        self.suite.hold(lambda: Held(True, iterations, take))
        return super().pedantic(target, args, kwargs, setup, teardown, rounds, warmup_rounds, iterations)
