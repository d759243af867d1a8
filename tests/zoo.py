"""Machines that this one is not: what they tell of themselves under /proc and /sys, and how fast they read working sets.

A cache that is told and one that is there are two things: a virtual machine tells the whole socket's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from roofcast.harness.measure.budget import Budget
from roofcast.harness.measure.cache_levels import Mountain
from roofcast.harness.measure.mountain import working_sets

KIB, MIB, GIB = 2**10, 2**20, 2**30
CPU = "sys/devices/system/cpu"
TAILS = (4.0, 1.5)
"""Of a cache's size, where nothing is read from it any more: of the last, which does not evict the oldest first, and others."""


@dataclass(frozen=True)
class Animal:
    """A machine.

    Attributes:
        cores: logical ones.
        told: bytes of cache per level that each core, or all of them, has, as /sys tells.
        real: where caches end and how fast each is, innermost first, in bytes and GB/s of all cores.
        memory_gbs: rate beyond.
        memory_gb, free_gb: of memory.
        files: further ones under the root.
    """

    cores: int
    told: Mapping[str, int]
    real: tuple[tuple[float, float], ...]
    memory_gbs: float
    memory_gb: float = 24
    free_gb: float = 22
    files: Mapping[str, str] = field(default_factory=dict)

    def tree(self, root: Path) -> Path:
        """Writes what the machine tells below a folder."""
        said = {
            "proc/meminfo": "\n".join(
                f"{name}: {gb * 1e6 / 1.024:.0f} kB"
                for name, gb in (("MemTotal", self.memory_gb), ("MemAvailable", self.free_gb))
            ),
            f"{CPU}/online": f"0-{self.cores - 1}" if self.cores > 1 else "0",
        }
        for number, (level, size) in enumerate(self.told.items()):
            shared = level == "L3"
            for core in range(self.cores):
                folder = f"{CPU}/cpu{core}/cache/index{number}"
                said |= {
                    f"{folder}/level": level[1:],
                    f"{folder}/type": "Unified" if number else "Data",
                    f"{folder}/size": f"{size // KIB}K",
                    f"{folder}/shared_cpu_list": f"0-{self.cores - 1}" if shared else str(core),
                }
        for path, text in (said | dict(self.files)).items():
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_text(text)
        return root

    @property
    def told_bytes(self) -> dict[str, int]:
        """Caches of all cores together, as the harness reads them."""
        return {level: size if level == "L3" else size * self.cores for level, size in self.told.items()}

    def mountain(self, budget: Budget, noise: float = 0.03) -> Mountain:
        """Rates of the working sets that a measurement with some budget reads."""
        sizes = working_sets(budget.largest_working_set(max(self.told_bytes.values(), default=0)))
        rng = np.random.default_rng(0)
        rates = np.array([self.gbs(size) for size in sizes]) * rng.normal(1, noise, len(sizes))
        return Mountain(tuple(map(float, sizes)), tuple(rates), tuple(0.95 * rates), tuple(1.05 * rates))

    def gbs(self, size: float) -> float:
        """Rate of a working set: of a share that a level keeps, and of the rest from beyond."""
        rate = self.memory_gbs
        for place, (end, inner_gbs) in enumerate(reversed(self.real)):
            tail = TAILS[min(place, 1)]
            kept = np.clip((tail * end - size) / ((tail - 1) * end), 0, 1)
            rate = 1 / (kept / inner_gbs + (1 - kept) / rate)
        return float(rate)


CLOUD = ((96 * KIB, 300.0), (4 * MIB, 160.0), (16 * MIB, 60.0))
"""Two cores of an Intel Xeon in a virtual machine, whatever it tells."""

ZOO = {
    "a socket's cache told": Animal(2, {"L1": 48 * KIB, "L2": 2 * MIB, "L3": 260 * MIB}, CLOUD, 14.5),
    "1.1 GB told, 16 MB there": Animal(2, {"L1": 48 * KIB, "L2": 2 * MIB, "L3": 1126 * MIB}, CLOUD, 14.5),
    "no cache told": Animal(2, {}, CLOUD, 14.5),
    "one core": Animal(
        1, {"L1": 32 * KIB, "L2": MIB, "L3": 32 * MIB}, ((32 * KIB, 150.0), (MIB, 90.0), (32 * MIB, 40.0)), 15.0
    ),
    "64 cores, a quota of 1.5": Animal(
        64,
        {"L1": 32 * KIB, "L2": MIB, "L3": 256 * MIB},
        ((48 * KIB, 220.0), (2 * MIB, 130.0), (32 * MIB, 60.0)),
        25.0,
        256,
        200,
        {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"},
    ),
    "2 GB free": Animal(2, {"L1": 32 * KIB, "L2": MIB, "L3": 16 * MIB}, CLOUD, 20.0, 4, 2),
    "control groups, version 1": Animal(
        2,
        {"L3": 32 * MIB},
        CLOUD,
        20.0,
        files={
            "proc/self/cgroup": "4:memory:/a",
            "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "6000000000",
            "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "1000000000",
        },
    ),
    "control groups, version 2": Animal(
        2,
        {"L3": 32 * MIB},
        CLOUD,
        20.0,
        files={
            "proc/self/cgroup": "0::/a",
            "sys/fs/cgroup/a/memory.max": "3000000000",
            "sys/fs/cgroup/a/memory.current": "500000000",
        },
    ),
    "Arm64 without L3": Animal(4, {"L1": 64 * KIB, "L2": 512 * KIB}, ((256 * KIB, 200.0), (2 * MIB, 100.0)), 30.0),
    "hybrid cores": Animal(
        16,
        {"L1": 48 * KIB, "L2": 2 * MIB, "L3": 36 * MIB},
        ((768 * KIB, 900.0), (24 * MIB, 400.0), (36 * MIB, 200.0)),
        80.0,
        64,
        50,
        {"sys/devices/cpu_core/cpus": "0-7", "sys/devices/cpu_atom/cpus": "8-15"},
    ),
    "a real cache of 384 MB": Animal(
        16,
        {"L1": 32 * KIB, "L2": MIB, "L3": 384 * MIB},
        ((512 * KIB, 900.0), (16 * MIB, 500.0), (384 * MIB, 250.0)),
        90.0,
        128,
        100,
    ),
    "a real cache beyond all that is read": Animal(
        2, {"L1": 32 * KIB, "L2": MIB, "L3": 4 * GIB}, ((64 * KIB, 250.0), (2 * MIB, 150.0), (4 * GIB, 60.0)), 20.0
    ),
}
