"""Samples of a kernel that is long against a dispatch, or is timed by the device: its program is called as it is."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax

from ...kernels.op import Workload
from . import loops
from .ready_call import ReadyCall
from .timer import HOST, Call, Timer
from .wake import wake


class DirectCalls:
    """Blocked calls of one program, each on the next copy of what streams; donated results become the next call's operands.

    Attributes:
        calls: in one sample.
        overhead_s: of a call's time, what is not the program's; 0 where the device times.
    """

    def __init__(
        self,
        workload: Workload,
        program: Callable[..., Any],
        pool: Sequence[dict[str, Any]],
        hot: Mapping[str, Any],
        calls: int,
        timer: Timer,
        *,
        before_sample: Call | None = None,
        before_call: Call | None = None,
    ) -> None:
        """Samples so many calls.

        Args:
            workload, program: what is called.
            pool: copies of what streams.
            hot: other operands, which all calls share.
            calls: in one sample.
            timer: what times them.
            before_sample, before_call: done before each, and not timed.
        """
        self._workload, self._program, self._pool, self._hot, self._timer = workload, program, pool, hot, timer
        self._before_sample, self._before_call = before_sample, before_call
        self._results = tuple(workload.results())
        self._donated = frozenset(workload.donated)
        self._first = 0
        self.calls = calls
        self.overhead_s = 0.0

    def sample(self) -> float:
        """Seconds per call."""
        numbers = range(self._first, self._first + self.calls)
        self._first += self.calls
        copies = [self._pool[number % len(self._pool)] for number in numbers]
        inputs = [loops.moved_on(self._workload, self._hot, number // len(self._pool)) for number in numbers]
        operands = [{**copy, **jax.block_until_ready(mine)} for copy, mine in zip(copies, inputs, strict=True)]
        todo = [ReadyCall(self._program, kwargs=one) for one in operands]
        numbered = iter(range(self.calls))

        def before() -> None:
            number = next(numbered)
            if number and self._donated:
                self._hand_on(todo[number - 1], copies[number - 1])
                operands[number].update(copies[number])
            if self._before_call:
                self._before_call()

        if self._before_sample:
            self._before_sample()
        between = before if self._before_call or self._donated else None
        seconds = self._timer.seconds(todo, between) / self.calls
        if self._donated:
            self._hand_on(todo[-1], copies[-1])
        if not self._timer.on_device and not self.overhead_s:
            self.overhead_s = overhead_s(todo[-1])
        return seconds

    def _hand_on(self, call: ReadyCall, copy: dict[str, Any]) -> None:
        results = call.results if isinstance(call.results, tuple) else (call.results,)
        given = zip(self._results, results, strict=True)
        copy.update((name, result) for name, result in given if name in self._donated)


def overhead_s(call: ReadyCall) -> float:
    """Seconds that the host's clock shows of a call whose program takes no time."""
    empty = call.without_program()
    return min(HOST.seconds([empty], wake()) for _ in range(3))
