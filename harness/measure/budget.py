"""How much memory a measurement may hold at once, and what each part of it may have; pure arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ..errors import UsageError

MOST_BYTES = 4e9
"""By default: enough to time the kernels of a model in one batch, on a machine that others use too."""
SHARE = 0.4
"""Of what is free, by default: the rest is for drawing and checking, for compilers, and for everybody else."""
ALONE_SHARE = 0.8
"""Of what is free, that a single kernel may have where the default is too little for it."""
PROGRAM_BYTES = 5.5e8
"""What the program holds beside that: Python, JAX, compilers and their work, as measured on x86-64 Linux."""
STARTED_BYTES = 2e8
"""Of these, what is there when the free memory is looked at."""
PROBE_SHARE = 0.5
"""Of the budget, that the largest working set may have which is read to find where the caches end."""
COPIES_SHARE = 0.25
"""Of what the probes leave of the budget, that the copies of one kernel's operands may have."""
FAR_BYTES = 2**28
"""A working set that is beyond the caches of most machines. A shorter read spends some percent of its time on starting its
threads, so it is what the memory's probe reads where it may."""
BEYOND = 8
"""Last-level caches, by what the machine tells, that the largest working set should be: a cache that does not evict the oldest
first keeps some of what is four times its size."""
SMALLEST_BYTES = 2**14
"""The smallest working set that is read: half of most innermost caches."""

T = TypeVar("T")


@dataclass(frozen=True)
class Budget:
    """Memory for everything that a measurement holds beside the program itself: probes, copies of operands, references.

    Attributes:
        free_bytes: that this process may still take for it, the program's own growth taken off.
        total_bytes: that it will, but for a kernel that needs more by itself.
        is_asked: the user said how much: then no kernel may have more.
    """

    free_bytes: float
    total_bytes: float
    is_asked: bool = False

    @classmethod
    def of(cls, free_bytes: float, asked_gb: float | None = None) -> Budget:
        """The budget of a program that has just started, on a machine with so much free memory.

        Raises:
            UsageError: if more is asked for than is free, or none.
        """
        free_bytes = max(0.0, free_bytes - (PROGRAM_BYTES - STARTED_BYTES))
        if asked_gb is None:
            return cls(free_bytes, min(MOST_BYTES, SHARE * free_bytes))
        if not 0 < asked_gb * 1e9 <= free_bytes:
            raise UsageError(
                f"memory.budget_gb must be null or a number above 0 and at most {free_bytes / 1e9:.3g}, the GB that are free; "
                f"got {asked_gb:g}"
            )
        return cls(free_bytes, asked_gb * 1e9, True)

    def largest_working_set(self, told_bytes: float) -> int:
        """Bytes that are read to see the memory's own speed: a power of two, beyond the caches if there is room.

        Args:
            told_bytes: the last-level cache by what the machine tells.
        """
        room = max(2 * SMALLEST_BYTES, PROBE_SHARE * self.total_bytes)
        return 2 ** int(min(max(FAR_BYTES, BEYOND * told_bytes), room)).bit_length() // 2

    def room_for_copies(self, probe_bytes: float) -> float:
        """Bytes that the copies of one kernel's operands may take, so that several kernels are timed by turns."""
        return COPIES_SHARE * (self.total_bytes - probe_bytes)

    def refusal(self, needed_bytes: float, probe_bytes: float) -> str | None:
        """Why a kernel that needs so much beside the probes cannot be measured, or None."""
        room = self.total_bytes if self.is_asked else max(self.total_bytes, ALONE_SHARE * self.free_bytes)
        if needed_bytes + probe_bytes <= room:
            return None
        of = "memory.budget_gb" if self.is_asked else f"{ALONE_SHARE:.0%} of the {self.free_bytes / 1e9:.3g} GB that are free"
        return (
            f"it needs {needed_bytes / 1e9:.3g} GB beside the {probe_bytes / 1e9:.3g} GB of the probes, more than "
            f"{of if not self.is_asked else f'{of}={self.total_bytes / 1e9:g}'}"
        )

    def use(self, probe_bytes: float, held_bytes: float) -> str:
        """What will be held at the most, in words.

        Args:
            probe_bytes: by the probes, which need as much again while the ceilings are measured.
            held_bytes: by the operands of kernels.
        """
        most = PROGRAM_BYTES + probe_bytes + max(probe_bytes, held_bytes)
        return (
            f"About {most / 1e9:.1f} GB of memory are used at the most: {PROGRAM_BYTES / 1e9:.1f} by the program, "
            f"{probe_bytes / 1e9:.1f} by probes, {held_bytes / 1e9:.1f} by operands; "
            f"{self.free_bytes / 1e9:.1f} are free, and {self.total_bytes / 1e9:.1f} the budget."
        )

    def batches(self, calls: Iterable[T], needed: Callable[[T], float], probe_bytes: float) -> Iterator[list[T]]:
        """Calls in order, cut wherever a batch would need more than is left of the budget; one that needs more is alone."""
        batch: list[T] = []
        held = probe_bytes
        for one in calls:
            size = needed(one)
            if batch and held + size > self.total_bytes:
                yield batch
                batch, held = [], probe_bytes
            batch.append(one)
            held += size
        if batch:
            yield batch
