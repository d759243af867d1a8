"""What else the machine was doing while we looked."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import psutil

from ..host.hidden import told

_NAMED = 3
_WORTH_NAMING_CORES = 0.05


@dataclass(frozen=True)
class Activity:
    """The machine over a short window in which this process slept.

    Attributes:
        others_cores: cores' worth of time that other processes used.
        stolen: share of the cores' time that the hypervisor gave to other guests, 0 to 1.
        busiest: names and cores' worth of the busiest other processes; empty where they cannot be seen.
    """

    others_cores: float
    stolen: float = 0.0
    busiest: tuple[tuple[str, float], ...] = ()


def watch(window_s: float) -> Activity | None:
    """Sleeps for `window_s` seconds and says what others did meanwhile; None where the system hides that."""
    return told(lambda: _watched(window_s))


def _watched(window_s: float) -> Activity:
    machine, own_s, processes, start = psutil.cpu_times(), time.process_time(), _processes(), time.perf_counter()
    time.sleep(window_s)
    elapsed_s = time.perf_counter() - start
    used = [
        (name, (seconds - processes[pid][1]) / elapsed_s) for pid, (name, seconds) in _processes().items() if pid in processes
    ]
    busiest = sorted((one for one in used if one[1] > _WORTH_NAMING_CORES), key=lambda one: -one[1])[:_NAMED]
    own_cores = (time.process_time() - own_s) / elapsed_s
    return between(machine, psutil.cpu_times(), elapsed_s, own_cores, tuple(busiest))


def between(
    before: Any, after: Any, elapsed_s: float, own_cores: float, busiest: tuple[tuple[str, float], ...] = ()
) -> Activity:
    """The difference of two `psutil.cpu_times()`, whose fields count seconds over all cores."""
    spent = {name: getattr(after, name) - getattr(before, name) for name in before._fields}
    # Linux counts guests' time in `user` and `nice` as well.
    busy = sum(spent.get(name, 0.0) for name in ("user", "nice", "system", "irq", "softirq"))
    stolen = spent.get("steal", 0.0)
    total = busy + stolen + spent["idle"] + spent.get("iowait", 0.0)
    return Activity(max(0.0, busy / elapsed_s - own_cores), stolen / total if total > 0 else 0.0, busiest)


def _processes() -> dict[int, tuple[str, float]]:
    """Name and seconds of processor time of every other process that may be seen."""
    found = {}
    for process in psutil.process_iter(["name", "cpu_times"]):
        times = process.info["cpu_times"]
        if times is not None and process.pid != os.getpid():
            found[process.pid] = (process.info["name"] or "?", times.user + times.system)
    return found
