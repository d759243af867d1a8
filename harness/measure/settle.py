"""Kernels whose samples were planned while others computed, planned again once the machine is ours."""

from __future__ import annotations

import gc
from dataclasses import replace
from typing import TypeVar

from .caches import SAMPLE_S
from .prepare import Kernel
from .result import Result, words
from .spent import compiled_s

SHORT = 1 / 2
"""Samples of less than this part of `SAMPLE_S` were planned by runs beside which somebody else computed."""
LONG = 8
"""One that lasts so many times as long is none, whoever computed beside it."""
TRIES = 4
"""Samples of which one short one is enough."""

Name = TypeVar("Name")


def settle(results: dict[Name, Result], name: Name) -> None:
    """Makes a kernel ready again, in place, where its samples are far too short. If it cannot be, it has failed alone.

    Whoever computes beside the runs that plan a sample makes a kernel seem slow: two microseconds then come to one call per
    sample, and to a dispatch instead of a loop.
    """
    before = results[name]
    kernel = before.kernel
    if kernel is None or kernel.again is None or kernel.is_longest or not _is_short(kernel):
        return
    again, start = kernel.again, compiled_s()
    # The memory of both at once may not be there, and JAX lets go of some when Python next looks for garbage.
    results[name] = before = replace(before, kernel=None)
    del kernel
    gc.collect(0)
    try:
        results[name] = replace(before, kernel=again(), programs_s=before.programs_s + compiled_s() - start)
    except Exception as error:
        # As when it was first made ready: the others must still be measured.
        results[name] = replace(before, status="failed", reason=words(error))


def _is_short(kernel: Kernel) -> bool:
    for _ in range(TRIES):
        seconds = kernel.calls_per_sample * kernel.sample()
        if not SHORT * SAMPLE_S <= seconds < LONG * SAMPLE_S:
            return seconds < SHORT * SAMPLE_S
    return False
