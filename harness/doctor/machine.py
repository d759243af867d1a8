"""What about a machine spoils a measurement. Each check judges facts that others gathered."""

from __future__ import annotations

import itertools
import time

from ..host.host import Host
from ..measure.budget import ALONE_SHARE, MOST_BYTES, Budget
from ..words import binary, percent
from .activity import Activity
from .finding import Finding

_LEAST_BYTES = 10**9
_BUSY_SHARE = 0.1
"""Others using this share of our cores slow a bandwidth-bound kernel by more than the precision that is asked for."""
_STOLEN_SHARE = 0.01
_SWAPPED_BYTES = 64 * 2**20
_TIMER_STEP_S = 1e-6
"""A sample lasts some milliseconds; a coarser clock would be seen in its third digit."""


def affinity(host: Host) -> Finding:
    """Whether this process may run on all cores."""
    mine, all_cores = host.affinity_count, host.logical_cores or 0
    if not mine or mine >= all_cores:
        return Finding("affinity", "ok", f"this process may run on all {all_cores or 'of the'} logical cores")
    what = f"this process may run on {mine} of {all_cores} logical cores"
    return Finding("affinity", "note", what, "Figures hold for these cores only; start without taskset to use them all.")


def quota(host: Host) -> Finding:
    """Whether control groups throttle the threads that XLA will start."""
    visible = host.affinity_count or host.logical_cores or 1
    if host.cpu_quota is None or (host.cpu_quota >= visible and host.cpu_quota.is_integer()):
        return Finding("cpu quota", "ok", "no control group takes time from the visible cores")
    what = f"control groups allow {host.cpu_quota:g} cores' worth of time on {visible} visible cores"
    if host.cpu_quota >= visible:
        return Finding("cpu quota", "note", what, "Ask for a whole number of cores, so that the limit cannot be met.")
    whole = max(1, int(host.cpu_quota))
    advice = f"All threads stop when it is used up; pin to {whole} core{'s' if whole > 1 else ''} (taskset) or raise the limit."
    return Finding("cpu quota", "warning", what, advice)


def governor(host: Host) -> Finding:
    """Whether the clock waits for load before it rises."""
    if not host.governor:
        return Finding("governor", "note", "no frequency governor can be seen, as in most virtual machines")
    if host.governor == "performance":
        return Finding("governor", "ok", "the frequency governor is performance")
    advice = "Set it with `cpupower frequency-set -g performance`."
    return Finding("governor", "warning", f"the frequency governor is {host.governor}, which varies the clock", advice)


def clock(boost: bool | None, throttles: int | None) -> Finding:
    """Whether temperature moves the clock."""
    if throttles:
        what = f"a core was slowed down for heat {throttles} times since boot"
        return Finding("clock", "warning", what, "Improve cooling, or cap the clock so that it can be held.")
    if boost:
        what = "cores may clock above their base frequency, as far as heat allows"
        return Finding("clock", "note", what, "Switch boost off for the steadiest figures; they will be lower.")
    return Finding("clock", "ok", "nothing is seen that moves the clock with temperature")


def other_work(host: Host, activity: Activity | None) -> Finding:
    """Whether other processes use our cores and our memory bandwidth."""
    if activity is None:
        return Finding("other work", "note", "it cannot be seen what other processes use")
    load = "" if host.load_average_1m is None else f" (load average {host.load_average_1m:g})"
    what = f"others use {activity.others_cores:.2f} of {host.usable_cores:g} cores{load}"
    if activity.others_cores <= _BUSY_SHARE * host.usable_cores:
        return Finding("other work", "ok", what)
    named = ", ".join(f"{name} ({cores:.2f})" for name, cores in activity.busiest)
    advice = "Stop it, or expect disturbed samples" + (f"; busiest: {named}." if named else ".")
    return Finding("other work", "warning", what, advice)


def stolen_time(activity: Activity | None) -> Finding:
    """Whether the hypervisor gives our cores to other guests."""
    if activity is None:
        return Finding("stolen time", "note", "it cannot be seen what other guests take")
    what = f"other guests took {activity.stolen:.1%} of this machine's time"
    if activity.stolen <= _STOLEN_SHARE:
        return Finding("stolen time", "ok", what)
    return Finding("stolen time", "warning", what, "Use a dedicated machine, or trust only ratios taken in one run.")


def virtual_machine(host: Host) -> Finding:
    """Whether neighbours can share caches and memory bandwidth unseen."""
    if not host.hypervisor:
        return Finding("virtual machine", "ok", "no hypervisor is seen")
    what = "this is a virtual machine: neighbours share its caches and memory bandwidth, and may change within seconds"
    return Finding("virtual machine", "note", what, "Compare kernels within one run, not across runs.")


def memory(free_bytes: float) -> Finding:
    """How much of what is free a measurement takes by default, by its own arithmetic."""
    budget = Budget.of(free_bytes)
    what = (
        f"{free_bytes / 1e9:.1f} GB of memory are free, of which a measurement takes {budget.total_bytes / 1e9:.1f} at the most"
        f", but for a kernel that needs more by itself"
    )
    if free_bytes >= MOST_BYTES:
        return Finding("memory", "ok", what)
    advice = f"A kernel that needs more than {percent(ALONE_SHARE)} of it is left out. Free memory, or raise the limit."
    return Finding("memory", "warning" if free_bytes >= _LEAST_BYTES else "error", what, advice)


def swap(used_bytes: int | None) -> Finding:
    """Whether pages were moved out, whose return would be timed."""
    if used_bytes is None:
        return Finding("swap", "note", "it cannot be seen what is swapped out")
    what = f"{used_bytes / 1e6:.0f} MB are swapped out"
    if used_bytes <= _SWAPPED_BYTES:
        return Finding("swap", "ok", what)
    return Finding("swap", "note", what, "If memory is short while measuring, switch swap off (`swapoff -a`).")


def timer(step_s: float, clock_source: str | None) -> Finding:
    """Whether the clock is fine and cheap enough."""
    source = f" (clock source {clock_source})" if clock_source else ""
    what = f"the timer steps by {step_s * 1e9:.0f} ns{source}"
    if step_s > _TIMER_STEP_S:
        return Finding("timer", "warning", what, "Boot with clocksource=tsc, or on a host that offers it.")
    return Finding("timer", "ok", what)


def timer_step_s() -> float:
    """Smallest step seen between successive readings of `time.perf_counter`, seconds."""
    readings = [time.perf_counter() for _ in range(2000)]
    steps = (later - earlier for earlier, later in itertools.pairwise(readings))
    # A clock that stood still for all of them is far coarser than the longest of steps that would do.
    return min((step for step in steps if step > 0), default=1.0)


def large_pages(setting: str) -> Finding:
    """Whether large arrays get large pages."""
    if not setting:
        return Finding("large pages", "note", "the setting of transparent huge pages cannot be seen")
    what = f"transparent huge pages: {setting}"
    if setting == "always":
        return Finding("large pages", "ok", what)
    advice = "Large arrays then take small pages and more address translations; `always` is what most measurements assume."
    return Finding("large pages", "note", what, advice)


def cache_size(host: Host) -> Finding:
    """What the machine tells of its caches, which is where a measurement looks for their ends."""
    where = "where caching ends is measured by bench"
    if not host.cache_bytes:
        return Finding("cache size", "note", f"the machine tells of no caches; {where}")
    sizes = ", ".join(f"{level} {binary(size)}" for level, size in host.cache_bytes.items())
    return Finding("cache size", "note", f"told by the machine: {sizes}; {where}")
