"""What Linux says of the machine under /proc and /sys.

Every reader takes the root that these stand under, so that other machines can be described by a folder. What a
machine does not say is None or empty: containers and virtual machines hide much.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

_CPU = "sys/devices/system/cpu"

_X86_FEATURES = ("sse4_2", "avx", "avx2", "fma", "f16c", "avx512f", "avx512_vnni", "avx512_bf16", "avx512_fp16", "avx_vnni")
_AMX_FEATURES = ("amx_tile", "amx_bf16", "amx_int8")
_ARM_FEATURES = ("asimd", "asimdhp", "asimddp", "bf16", "i8mm", "sve", "sve2", "svebf16", "svei8mm", "sme")
NOTABLE_FEATURES = frozenset((*_X86_FEATURES, *_AMX_FEATURES, *_ARM_FEATURES))
"""Instruction sets that XLA's and LLVM's CPU code generators choose between."""


def text(root: Path, path: str) -> str | None:
    """A file's text without surrounding space, or None where it cannot be read."""
    try:
        return (root / path).read_text(encoding="utf-8", errors="replace").strip("\0 \n")
    except OSError:
        return None


def number(root: Path, path: str) -> int | None:
    """A file that holds one whole number, or None."""
    found = text(root, path) or ""
    return int(found) if re.fullmatch(r"-?\d+", found) else None


def cpu_list(found: str) -> tuple[int, ...]:
    """The kernel's list format: "0-2,8" is (0, 1, 2, 8)."""
    spans = re.findall(r"(?<![\d-])(\d{1,5})(?:-(\d{1,5}))?(?![\d-])", found)
    return tuple(cpu for first, last in spans for cpu in range(int(first), int(last or first) + 1))


def online(root: Path) -> tuple[int, ...]:
    """Logical cores that are on."""
    return cpu_list(text(root, f"{_CPU}/online") or "")


def physical_cores(root: Path) -> int | None:
    """Distinct (package, core) pairs of the logical cores that are on."""
    places = {
        (text(root, f"{_CPU}/cpu{cpu}/topology/physical_package_id"), text(root, f"{_CPU}/cpu{cpu}/topology/core_id"))
        for cpu in online(root)
    }
    return len(places) if places and (None, None) not in places else None


def cpuinfo(root: Path) -> Mapping[str, str]:
    """The first core's block of /proc/cpuinfo."""
    lines = (text(root, "proc/cpuinfo") or "").split("\n\n")[0].splitlines()
    pairs = (line.partition(":") for line in lines)
    return {key.strip(): value.strip() for key, _, value in pairs}


def features(root: Path) -> tuple[str, ...]:
    """Instruction sets of the first core that matter to a kernel's speed, in alphabetical order."""
    info = cpuinfo(root)
    return tuple(sorted(NOTABLE_FEATURES & set((info.get("flags") or info.get("Features") or "").split())))


def is_virtual(root: Path) -> bool:
    """A hypervisor says that it is there: by the CPU's flag, by Xen's folder, or by the name of the board."""
    if "hypervisor" in cpuinfo(root).get("flags", "").split() or text(root, "sys/hypervisor/type"):
        return True
    vendor = text(root, "sys/class/dmi/id/sys_vendor") or ""
    return bool(re.search(r"QEMU|KVM|VMware|Xen|innotek|Amazon EC2|Google|Parallels", vendor))


def caches(root: Path, cpus: Sequence[int]) -> dict[str, int]:
    """Bytes of data cache per level ("L2") that these logical cores together have, smallest level first.

    A cache is counted once however many of the cores share it.
    """
    seen: dict[tuple[int, str], int] = {}
    for cpu in cpus:
        for folder in _inside(root / _CPU / f"cpu{cpu}/cache", "index[0-9]*"):
            level, size = number(folder, "level"), _bytes(text(folder, "size") or "")
            if level is not None and size and text(folder, "type") != "Instruction":
                seen[level, text(folder, "shared_cpu_list") or str(cpu)] = size
    levels = sorted({level for level, _ in seen})
    return {f"L{level}": sum(size for (other, _), size in seen.items() if other == level) for level in levels}


def governor(root: Path) -> str:
    """The frequency governors in use, "" where none is visible."""
    return "+".join(sorted({text(path, "scaling_governor") or "" for path in _policies(root)}))


def boost(root: Path) -> bool | None:
    """Whether cores may clock above their base frequency; None where it is not said."""
    no_turbo, on = number(root, f"{_CPU}/intel_pstate/no_turbo"), number(root, f"{_CPU}/cpufreq/boost")
    if no_turbo is not None:
        return no_turbo == 0
    return None if on is None else on == 1


def throttle_count(root: Path) -> int | None:
    """Times since boot that a core slowed down because it was hot, the most of any core; None where it is not counted."""
    cores = (number(root, f"{_CPU}/cpu{cpu}/thermal_throttle/core_throttle_count") for cpu in online(root))
    return max((count for count in cores if count is not None), default=None)


def large_pages(root: Path) -> str:
    """The setting of transparent huge pages, such as `madvise`; "" where it is not said."""
    chosen = re.search(r"\[(\w+)\]", text(root, "sys/kernel/mm/transparent_hugepage/enabled") or "")
    return chosen[1] if chosen else ""


def meminfo(root: Path) -> dict[str, int]:
    """/proc/meminfo in bytes."""
    rows = re.findall(r"^(\w+):\s+(\d+) kB$", text(root, "proc/meminfo") or "", re.MULTILINE)
    return {name: int(kilobytes) * 1024 for name, kilobytes in rows}


def cpu_quota(root: Path) -> float | None:
    """Cores' worth of time that the control groups above this process allow, None where they do not limit it.

    Version 2 says "quota period" in cpu.max, version 1 two files; microseconds. The tightest ancestor counts.
    """
    quotas = []
    for folder in _groups(root, "cpu"):
        quota, _, period = (text(folder, "cpu.max") or "max").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            quotas.append(int(quota) / int(period))
        quota_us, period_us = number(folder, "cpu.cfs_quota_us"), number(folder, "cpu.cfs_period_us")
        if quota_us and period_us and quota_us > 0:
            quotas.append(quota_us / period_us)
    return min(quotas, default=None)


def memory_limit(root: Path) -> int | None:
    """Bytes that the control groups above this process allow, None where they allow as much as there is."""
    names = ("memory.max", "memory.limit_in_bytes")
    limits = [number(folder, name) for folder in _groups(root, "memory") for name in names]
    total = meminfo(root).get("MemTotal")
    # Version 1 writes "no limit" as a number near 2^63.
    real = [limit for limit in limits if limit is not None and (total is None or limit < total) and limit < 2**62]
    return min(real, default=None)


def memory_available(root: Path) -> int | None:
    """Bytes that this process can still get, by the kernel's estimate and the control groups above it.

    A group's usage counts page cache; the part of it that is not in active use is given back on demand.
    """
    rooms = [room for room in (meminfo(root).get("MemAvailable"),) if room is not None]
    for folder in _groups(root, "memory"):
        limit = number(folder, "memory.max") or number(folder, "memory.limit_in_bytes")
        used = number(folder, "memory.current") or number(folder, "memory.usage_in_bytes")
        if limit is not None and used is not None:
            idle = re.search(r"^inactive_file (\d+)$", text(folder, "memory.stat") or "", re.MULTILINE)
            rooms.append(max(0, limit - used + int(idle[1] if idle else 0)))
    return min(rooms, default=None)


def _groups(root: Path, controller: str) -> Iterator[Path]:
    """Folders of the control groups of this process for a controller, from its own up to the root, either version.

    Inside a container the path that /proc names may not exist below its own mount; the mount's root then is the group.
    """
    mount = root / "sys/fs/cgroup"
    for line in (text(root, "proc/self/cgroup") or "").splitlines():
        if not (said := re.fullmatch(r"\d+:([^:]*):/*(.*)", line)):
            continue
        controllers, path = said.groups()
        if controllers and controller not in controllers.split(","):
            continue
        bases = [mount / controllers, mount / controller] if controllers else [mount / "unified", mount]
        inner = PurePosixPath(path)
        yield from (base / one for base in bases for one in (inner, *inner.parents))


def _policies(root: Path) -> list[Path]:
    return [path for path in _inside(root / _CPU / "cpufreq", "policy[0-9]*") if text(path, "scaling_governor")]


def _inside(folder: Path, pattern: str) -> list[Path]:
    """What a folder holds by such names, in their order; nothing where it may not be looked into."""
    try:
        return sorted(folder.glob(pattern))
    except OSError:
        return []


def _bytes(size: str) -> int:
    """Reads the kernel's sizes: "32K" is 32768."""
    match = re.fullmatch(r"(\d+)([KMG]?)", size)
    return int(match[1]) * 1024 ** " KMG".index(match[2] or " ") if match else 0
