"""Two callables timed by turns within one process, and what is said of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from .judge import FIRST_SHARE
from .pair import Estimate, Quad, Side, judged, order
from .sampling import calls_per_sample, sample
from .trial import LONGEST_SAMPLE_S, SHARPNESS, Key
from .verdict import Policy, Verdict, looked_again, settled


def compare_callables(
    base: Callable[[], Any],
    head: Callable[[], Any],
    policy: Policy,
    *,
    least_quads: int = 64,
    most_quads: int = 256,
    budget_s: float = 30.0,
    rng: np.random.Generator | None = None,
) -> Verdict:
    """Whether the head is slower than the base, from calls of both by turns.

    A suspicion is confirmed by repetitions in this same process. That one function lies better in memory than the other is
    therefore taken for a difference, as it would not be between fresh processes.

    Args:
        base, head: what is called, without arguments.
        policy: says what counts as a difference.
        least_quads, most_quads: of samples; the most only where the estimate is not sharp enough before.
        budget_s: seconds for everything; the least number of quads is taken even beyond it.
        rng: of the order of samples.
    """
    turns = np.random.default_rng() if rng is None else rng
    code: Mapping[Side, Callable[[], Any]] = {"base": base, "head": head}
    calls = _calls(code.values())
    least = policy.least_shift("latency")
    end = time.monotonic() + budget_s

    def look(share: float) -> Estimate:
        deadline = time.monotonic() + share
        quads: list[Quad] = []
        while len(quads) < most_quads:
            for _ in range(least_quads):
                seconds: dict[Side, list[float]] = {"base": [], "head": []}
                for side in order(turns):
                    seconds[side].append(sample(code[side], calls))
                quads.append(Quad(tuple(seconds["base"]), tuple(seconds["head"])))
            if SHARPNESS * judged(quads).half_width <= least or time.monotonic() >= deadline:
                break
        return judged(quads)

    key: Key = ("head", "latency")
    first: dict[Key, Estimate] = {key: look(FIRST_SHARE * budget_s)}
    fresh = looked_again(first, policy, end, lambda _, share: {key: look(share)})
    return settled(first, fresh, policy, "when measured again")[key]


def _calls(code: Iterable[Callable[[], Any]]) -> int:
    """Calls per sample of all: as many of each, or one would profit more from what a first call warms."""
    found = [(calls, sample(one, calls)) for one in code for calls in (calls_per_sample(one),)]
    longest_s = max(seconds for _, seconds in found)
    return min(max(calls for calls, _ in found), max(1, int(LONGEST_SAMPLE_S / longest_s)))
