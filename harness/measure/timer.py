"""What times the calls of a sample: the host's clock around them, or the device's own record of their kernels."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..errors import UsageError

CHOICES = ("auto", "host", "device")

Call = Callable[[], Any]
"""Does something and returns when it is done."""


@dataclass(frozen=True)
class Timer:
    """A clock for calls.

    Attributes:
        name: as it is recorded.
        seconds: runs calls in order, before each of them the second argument if there is one, and returns seconds of the calls.
        on_device: whether host overhead is left out, so that short kernels need no compiled loop.
        note: why it is not the timer that a GPU should have, "" where it is.
    """

    name: str
    seconds: Callable[[Sequence[Call], Call | None], float]
    on_device: bool = False
    note: str = ""


def _host_seconds(calls: Sequence[Call], between: Call | None = None) -> float:
    total = 0.0
    for group in [calls] if between is None else [[call] for call in calls]:
        if between is not None:
            between()
        start = time.perf_counter()
        for call in group:
            call()
        total += time.perf_counter() - start
    return total


HOST = Timer("perf_counter", _host_seconds)
"""The host's clock, which includes dispatch."""

BY_THE_HOST = "whole steps, whose gaps between kernels count, and other libraries are timed by the host"
"""Why something is not timed by the device where kernels are."""


def choose(wish: str, backend: str, make_device: Callable[[], Timer]) -> Timer:
    """The timer that is meant by `auto`, `host` or `device`.

    Args:
        wish: one of `CHOICES`; `auto` is the device's where it works.
        backend: JAX's name of it.
        make_device: makes the device's timer and tries it; raises `UsageError` with the reason if it does not work.

    Raises:
        UsageError: if `device` was asked for and cannot be had.
    """
    if wish == "host":
        return HOST
    if backend != "gpu":
        if wish == "device":
            raise UsageError(
                f"timing.timer must be auto or host on backend {backend}, whose calls run on the host; got 'device'"
            )
        return HOST
    try:
        return make_device()
    except UsageError as error:
        if wish == "device":
            raise
        return Timer(HOST.name, HOST.seconds, note=str(error))
