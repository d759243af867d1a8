"""Operands are drawn and placed while this thread compiles what will take them: neither needs the other."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, TypeVar

T = TypeVar("T")


@contextmanager
def overlapped(work: Callable[..., T], *given: Any) -> Iterator[Callable[[], T]]:
    """Does some work in another thread, at the longest until the block ends: nothing goes on beside what is timed after it.

    Yields:
        What waits for the work and returns what came of it, or raises what it raised.
    """
    with ThreadPoolExecutor(1, "roofcast-overlap") as other:
        yield other.submit(work, *given).result
