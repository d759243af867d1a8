"""Asking the system what it may hide: a container need not have /proc."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def told(ask: Callable[[], T]) -> T | None:
    """What the system answers, or None where it hides that."""
    try:
        return ask()
    except Exception:
        # By what is missing, psutil meets no file, no line, no word or no process.
        return None
