"""Says how far a sweep is, while its launcher is busy with it."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from types import TracebackType

from .board import Board
from .progress import SweepProgress

_EVERY_S = 1.0
"""Between two looks at the board: a look costs the measured machine something."""


class Watch:
    """A thread that looks at the board and tells. Use as a context.

    Args:
        board: where jobs say how far they are.
        first: number of the first job that is to be run.
        pending, skipped: how many are to be run, and how many had been finished before.
        names: of those to be run, in the order of their numbers.
    """

    def __init__(self, board: Board, first: int, pending: int, skipped: int, names: Sequence[str]) -> None:
        self._board, self._first, self._names = board, first, names
        self._pending, self._skipped = pending, skipped
        self._told: set[int] = set()
        self._counts = Counter({"skipped": skipped})
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._start = time.monotonic()
        self._shown = SweepProgress(pending + skipped)

    def __enter__(self) -> Watch:
        self._shown.start(self._skipped)
        if self._pending:
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._over.set()
        if self._pending:
            self._thread.join()
            self._look()
        self._shown.stop()

    def _look_on(self) -> None:
        while not self._over.wait(_EVERY_S):
            self._look()

    def _look(self) -> None:
        mine = range(self._first, self._first + self._pending)
        standings = {number: one for number, one in self._board.read().items() if number in mine}
        ended = {number: one for number, one in standings.items() if one.ended}
        running = [one for one in standings.values() if not one.ended]
        work = len(ended) + sum(one.share for one in running)
        left_s = (time.monotonic() - self._start) * (self._pending - work) / work if work else None
        for number in sorted(ended.keys() - self._told):
            self._told.add(number)
            self._counts[ended[number].ended] += 1
            self._shown.ended(self._names[number - self._first], ended[number].ended, self._counts, left_s)
        self._shown.now(self._counts, len(running), "; ".join(one.doing for one in running), self._skipped + work, left_s)
