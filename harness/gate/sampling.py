"""A callable timed, with nothing imported that a user's pytest would have to wait for."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

SAMPLE_S = 2e-3
"""Calls are batched until a sample lasts this long: far above the timer's resolution, short against drift."""

LONG_S = 0.1
"""A sample that takes longer is not repeated only to know how long it takes."""


def sample(call: Callable[[], Any], calls: int) -> float:
    """Seconds per call of so many calls, until JAX, where somebody has imported it, has computed what they return."""
    start = time.perf_counter()
    result = None
    for _ in range(calls):
        result = call()
    if jax := sys.modules.get("jax"):
        jax.block_until_ready(result)
    return (time.perf_counter() - start) / calls


def calls_per_sample(call: Callable[[], Any]) -> int:
    """Calls that together last long enough to be timed, found by doubling."""
    calls = 1
    while sample(call, calls) * calls < SAMPLE_S:
        calls *= 2
    return calls


@dataclass
class Held:
    """What a test benchmarks.

    Attributes:
        is_direct: the number of calls in a sample is the test's choice.
        calls: in one sample.
        take: takes a sample of so many calls, in seconds per call.
    """

    is_direct: bool
    calls: int
    take: Callable[[int], float]

    def answer(self) -> dict[str, Any]:
        """How a sample is taken, with the shortest of three in seconds per call, or of one where that takes long."""
        seconds = self.take(self.calls)
        if seconds * self.calls < LONG_S:
            seconds = min(seconds, *(self.take(self.calls) for _ in range(2)))
        return {"is_direct": self.is_direct, "calls": self.calls, "seconds": seconds}
