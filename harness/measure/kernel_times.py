"""From a profile of JAX to the time that each call kept the device busy; pure arithmetic, no JAX.

A call is a host annotation that lasts until its results are there. A kernel belongs to the call within which it was launched:
CUPTI gives a launch on the host and its kernel on the device one correlation number. Where a profile has no such launch, the
kernel's own middle decides, for the two clocks are aligned to some microseconds and nothing else runs meanwhile.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

CALL = "roofcast.call"
"""Name of the annotation around a call."""
DEVICE_PLANE, HOST_PLANE, STREAM_LINE = "/device:GPU:", "/host:", "Stream"
"""How XLA names the planes of a GPU and of the host, and a GPU's lines of what ran; its other lines are derived from those."""
_CORRELATION = "correlation_id"


class ProfileError(Exception):
    """A profile that does not tell what the calls took on the device; says why."""


class Event(NamedTuple):
    """Something that lasted, in nanoseconds of the profile's clock."""

    start_ns: float
    duration_ns: float
    correlation: int | None = None

    @property
    def end_ns(self) -> float:
        """When it was over."""
        return self.start_ns + self.duration_ns


def device_seconds(profile: Any, count: int) -> list[float]:
    """Seconds that the device was busy with each of the annotated calls, in order: kernels, copies and fills, gaps left out.

    The sum of a call's kernels where they follow each other; kernels that run at the same time count once.

    Args:
        profile: `jax.profiler.ProfileData`, or whatever has its `planes`, `lines` and `events`.
        count: annotated calls that it must hold.

    Raises:
        ProfileError: if calls or kernels are missing, or calls of the same program did not run equally many kernels.
    """
    calls = sorted(_events(profile, HOST_PLANE, named=CALL))
    if len(calls) != count:
        raise ProfileError(f"the profile holds {len(calls)} of {count} annotated calls")
    kernels = list(_events(profile, DEVICE_PLANE, line=STREAM_LINE))
    if not kernels:
        raise ProfileError("the profile holds no kernel of a GPU; CUPTI may be missing, in use, or not permitted to this user")
    launched = {one.correlation: one for one in _events(profile, HOST_PLANE) if one.correlation is not None}
    busy: list[list[Event]] = [[] for _ in calls]
    starts = [one.start_ns for one in calls]
    for kernel in kernels:
        launch = None if kernel.correlation is None else launched.get(kernel.correlation)
        moment = launch.start_ns if launch else kernel.start_ns + kernel.duration_ns / 2
        place = bisect_right(starts, moment) - 1
        if place >= 0 and moment <= calls[place].end_ns:
            busy[place].append(kernel)
    numbers = sorted({len(one) for one in busy})
    if numbers[0] == 0:
        raise ProfileError(
            f"{sum(not one for one in busy)} of {count} calls ran no kernel on the GPU that the profile knows of"
        )
    if len(numbers) > 1:
        raise ProfileError(f"calls of one program ran {numbers[0]} to {numbers[-1]} kernels each: the profile has lost some")
    return [covered_ns(one) / 1e9 for one in busy]


def covered_ns(events: Sequence[Event]) -> float:
    """Nanoseconds in which at least one of the events went on."""
    covered, until = 0.0, float("-inf")
    for one in sorted(events):
        covered += max(0.0, one.end_ns - max(one.start_ns, until))
        until = max(until, one.end_ns)
    return covered


def _events(profile: Any, plane: str, *, line: str = "", named: str = "") -> Iterator[Event]:
    """Events are read while their line is at hand: JAX frees what it handed out with the line."""
    for one in profile.planes:
        if one.name.startswith(plane):
            for each in one.lines:
                if (each.name or "").startswith(line):
                    for event in each.events:
                        if not named or event.name == named:
                            yield Event(event.start_ns, event.duration_ns, dict(event.stats).get(_CORRELATION))
