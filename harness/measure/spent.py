"""Where the time of a run goes: compiling, measuring, or what both need."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field

Held = Callable[[], AbstractContextManager[None]]
"""Makes what is held for as long as a block runs."""

_compiling_s = 0.0


@contextmanager
def compiling() -> Iterator[None]:
    """Counts the time of a block as compiling."""
    global _compiling_s
    start = time.perf_counter()
    try:
        yield
    finally:
        _compiling_s += time.perf_counter() - start


def compiled_s() -> float:
    """Seconds that this process has compiled."""
    return _compiling_s


def both(outer: Held, inner: Held) -> Held:
    """What holds one thing in another."""

    @contextmanager
    def held() -> Iterator[None]:
        with outer(), inner():
            yield

    return held


@dataclass
class Spent:
    """Seconds of one run.

    Attributes:
        compiling_s: tracing, lowering and compiling, or loading what was compiled before.
        measuring_s: samples of kernels and of the probes beside them, and the machine's ceilings.
        proving_s: drawing operands, proving kernels right, and laying out what is timed.
    """

    compiling_s: float = field(default=0.0)
    measuring_s: float = field(default=0.0)
    proving_s: float = field(default=0.0)

    @contextmanager
    def measuring(self) -> Iterator[None]:
        """Counts the time of a block as measuring, but for what is compiled in it."""
        start, before = time.perf_counter(), compiled_s()
        try:
            yield
        finally:
            self.measuring_s += self._but_for_compiling(start, before)

    @contextmanager
    def proving(self) -> Iterator[None]:
        """Counts the time of a block as proving, but for what is compiled in it."""
        start, before = time.perf_counter(), compiled_s()
        try:
            yield
        finally:
            self.proving_s += self._but_for_compiling(start, before)

    def _but_for_compiling(self, start: float, before: float) -> float:
        compiling_s = compiled_s() - before
        self.compiling_s += compiling_s
        return time.perf_counter() - start - compiling_s
