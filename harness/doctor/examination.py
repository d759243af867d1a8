"""What on this machine will spoil a measurement, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import psutil

from ..host import linux
from ..host.exclusive import device_number
from ..host.hidden import told
from ..host.host import fingerprint
from ..host.memory import free_bytes
from ..host.nvidia import DRIVER as NVIDIA_DRIVER
from ..host.nvidia import gpu_state
from . import gpu, machine, software
from .activity import watch
from .finding import LEVELS, Finding, Level

__all__ = ["LEVELS", "Finding", "Level", "examine", "worst"]


def examine(results: Path | str, *, with_jax: bool = False, watch_s: float = 0.5, root: Path = Path("/")) -> Iterator[Finding]:
    """Every check's finding, in the order in which a person would want to read them.

    Args:
        results: folder or URL that measurements are to be kept in.
        with_jax: also start JAX and ask it, which takes seconds.
        watch_s: seconds to watch what other processes do.
        root: where /proc and /sys stand.
    """
    host = fingerprint(root=root)
    activity = watch(watch_s)
    yield machine.other_work(host, activity)
    yield machine.stolen_time(activity)
    yield machine.virtual_machine(host)
    yield machine.affinity(host)
    yield machine.quota(host)
    yield machine.governor(host)
    yield machine.clock(linux.boost(root), linux.throttle_count(root))
    yield machine.cache_size(host)
    yield machine.memory(free_bytes(root))
    yield machine.swap(_swapped_bytes(root))
    yield machine.large_pages(linux.large_pages(root))
    source = linux.text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource")
    yield machine.timer(machine.timer_step_s(), source)
    if linux.text(root, NVIDIA_DRIVER) is not None:
        yield from gpu.findings(gpu_state(device_number()), host.environment)
    yield software.jax_version(host.jax_version)
    yield software.numba()
    yield from software.environment(host.environment)
    yield software.results(results)
    if with_jax and host.jax_version:
        yield from software.jax_runtime(root)


def _swapped_bytes(root: Path) -> int | None:
    said = linux.meminfo(root)
    if "SwapTotal" in said and "SwapFree" in said:
        return said["SwapTotal"] - said["SwapFree"]
    return told(lambda: psutil.swap_memory().used)


def worst(findings: Iterable[Finding]) -> Level:
    """The gravest level among findings; `ok` where there are none."""
    return LEVELS[max((LEVELS.index(one.level) for one in findings), default=0)]
