"""How far a sweep is: a bar on a terminal, a line for each job in a log."""

from __future__ import annotations

import sys
from collections.abc import Mapping

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
from rich.progress import Progress as RichProgress

from ..words import counted


class SweepProgress:
    """Writes on standard error.

    Args:
        total: jobs of the sweep, those that are skipped included.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._is_terminal = sys.stderr.isatty()
        self._bar = RichProgress(
            BarColumn(bar_width=20),
            TextColumn("{task.fields[counts]}"),
            TimeElapsedColumn(),
            TextColumn("{task.description}"),
            console=Console(file=sys.stderr),
            transient=True,
            disable=not self._is_terminal,
            # Each drawing costs the measured machine something.
            refresh_per_second=1,
        )
        self._task = self._bar.add_task("starting", total=float(total), counts=f"0 of {total}")

    def start(self, skipped: int) -> None:
        """Begins to draw, and writes a first line where there is no terminal; `skipped` jobs had been finished before."""
        self._bar.start()
        if not self._is_terminal:
            print(f"{counted(self._total, 'configuration')}, {skipped} of them finished before", file=sys.stderr, flush=True)

    def stop(self) -> None:
        """Takes the bar away."""
        self._bar.stop()

    def now(self, counts: Mapping[str, int], running: int, doing: str, work: float, left_s: float | None) -> None:
        """Draws anew.

        Args:
            counts: jobs by how they ended.
            running: jobs that are being run.
            doing: what they do at the moment, in words.
            work: jobs' worth of work that is done.
            left_s: seconds until the end; None where nothing tells yet.
        """
        self._bar.update(
            self._task, completed=work, counts=f"{_counted(counts, self._total, running)}, {_left(left_s)}", description=doing
        )

    def ended(self, name: str, status: str, counts: Mapping[str, int], left_s: float | None) -> None:
        """Writes a line where there is no terminal to draw on."""
        if not self._is_terminal:
            said = f"{_counted(counts, self._total)}; {status}: {name}; {_left(left_s)}"
            print(said, file=sys.stderr, flush=True)


def _counted(counts: Mapping[str, int], total: int, running: int = 0) -> str:
    known = {"done": 0, "running": running, **counts}
    parts = ", ".join(f"{count} {word}" for word, count in known.items() if count)
    return f"{sum(counts.values())} of {total} ({parts or 'none yet'})"


def _left(seconds: float | None) -> str:
    if seconds is None:
        return "time left unknown"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s left" if minutes else f"{rest} s left"
