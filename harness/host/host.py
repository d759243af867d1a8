"""The machine that a measurement was taken on, and what of it must agree before two timings may be compared."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from ..files.columns import Columns
from . import linux
from .hidden import told
from .provenance import version_of

DEFAULT_CACHE_BYTES = 32 * 2**20
"""Last-level cache where the machine does not tell: what one core complex of a common server shares."""

_MACHINE = {"agrees": "machine"}
_SOFTWARE = {"agrees": "software"}
"""Marks of the fields that must agree between two timings; the others may differ from run to run."""
_SPEED_VARIABLES = re.compile(r"XLA_FLAGS|XLA_PYTHON_CLIENT_\w+|JAX_\w+|OMP_\w+|NUMBA_\w+|MALLOC_\w+|LD_PRELOAD")
_HARMLESS_VARIABLES = re.compile(r"\w*(CACHE|LOG|TRACEBACK|DUMP)\w*")
"""Change what a run prints or keeps, not how fast the compiled code is."""


@dataclass(frozen=True, kw_only=True)
class Host(Columns):
    """Fingerprint of a machine and its software. What cannot be read is "", None or empty.

    Attributes:
        cpu_model: the processor's own name.
        cpu_signature: family, model and stepping (x86) or implementer and part (Arm), which a hypervisor leaves
            alone when it shortens the name.
        cpu_features: instruction sets that CPU code generators choose between.
        architecture: `x86_64`, `aarch64` or `arm64`.
        physical_cores, logical_cores: of the whole machine; None where unknown.
        affinity: logical cores that this process may run on; empty where the system has no such notion.
        affinity_count: how many those are.
        cpu_quota: cores' worth of time that control groups allow; None where unlimited.
        governor: frequency governor.
        cache_bytes: data cache per level (`L1`, `L2`, `L3`) of the cores in `affinity` together, smallest first.
        memory_bytes: memory of the machine.
        memory_limit_bytes: what control groups allow of it; None where all.
        hypervisor: the machine is virtual.
        operating_system: name and kernel release.
        load_average_1m: runnable tasks over the last minute, when this was taken.
        python_version, jax_version, jaxlib_version, numpy_version, numba_version: "" where not installed.
        environment: variables that change how fast compiled code is or what it computes.
        backend: JAX's backend, "" before JAX was asked.
        device_kind: JAX's name of the device, "" before JAX was asked.
        timer: the device's own clock that times calls (`cupti`); "" for the host's.
        key: short hash of everything that must agree before two timings may be compared; stored as `host_key`.
        machine_key: the same without software, backend and device: the machine itself, known before JAX is asked.
    """

    cpu_model: str = field(metadata=_MACHINE)
    cpu_signature: str = field(default="", metadata=_MACHINE)
    cpu_features: tuple[str, ...] = field(default=(), metadata=_MACHINE)
    architecture: str = field(metadata=_MACHINE)
    physical_cores: int | None = field(default=None, metadata=_MACHINE)
    logical_cores: int | None = field(default=None, metadata=_MACHINE)
    affinity: tuple[int, ...] = ()
    affinity_count: int = field(init=False, metadata=_MACHINE)
    cpu_quota: float | None = field(default=None, metadata=_MACHINE)
    governor: str = field(default="", metadata=_MACHINE)
    cache_bytes: Mapping[str, int] = field(default_factory=dict, metadata=_MACHINE)
    memory_bytes: int = 0
    memory_limit_bytes: int | None = None
    hypervisor: bool = field(default=False, metadata=_MACHINE)
    operating_system: str = ""
    load_average_1m: float | None = None
    python_version: str = field(default="", metadata=_SOFTWARE)
    jax_version: str = field(default="", metadata=_SOFTWARE)
    jaxlib_version: str = field(default="", metadata=_SOFTWARE)
    numpy_version: str = ""
    numba_version: str = field(default="", metadata=_SOFTWARE)
    environment: Mapping[str, str] = field(default_factory=dict, metadata=_SOFTWARE)
    backend: str = field(default="", metadata=_SOFTWARE)
    device_kind: str = field(default="", metadata=_SOFTWARE)
    timer: str = field(default="", metadata=_SOFTWARE | {"column": "device_timer", "later": True})
    key: str = field(init=False, metadata={"column": "host_key"})
    machine_key: str = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        object.__setattr__(self, "affinity_count", len(self.affinity))
        object.__setattr__(self, "key", _digest(_agreeing(self, ("machine", "software"))))
        object.__setattr__(self, "machine_key", _digest(_agreeing(self, ("machine",))))

    @property
    def usable_cores(self) -> float:
        """Cores' worth of time that this process can get."""
        visible = self.affinity_count or self.logical_cores or 1
        return visible if self.cpu_quota is None else min(visible, self.cpu_quota)

    @property
    def last_level_cache_bytes(self) -> int:
        """The largest cache, or `DEFAULT_CACHE_BYTES` where the machine tells of none."""
        return max(self.cache_bytes.values(), default=DEFAULT_CACHE_BYTES)


def differences(one: Host, other: Host) -> dict[str, tuple[Any, Any]]:
    """What keeps two hosts' timings from being compared: field -> both values. Empty where the keys are equal."""
    mine, theirs = (_agreeing(host, ("machine", "software")) for host in (one, other))
    said = ((name, (mine.get(name), theirs.get(name))) for name in mine | theirs)
    return {name: pair for name, pair in said if pair[0] != pair[1]}


def fingerprint(*, backend: str = "", device_kind: str = "", timer: str = "", root: Path = Path("/")) -> Host:
    """Describes the machine in some milliseconds. Imports no JAX: who has asked it passes `backend` and `device_kind`.

    Args:
        root: where /proc and /sys stand.
    """
    said = _darwin() if platform.system() == "Darwin" else _linux(root)
    load = told(os.getloadavg)
    return Host(
        **said,
        architecture=platform.machine(),
        affinity=_affinity(),
        operating_system=f"{platform.system()} {platform.release()}",
        load_average_1m=round(load[0], 2) if load else None,
        python_version=platform.python_version(),
        jax_version=version_of("jax"),
        jaxlib_version=version_of("jaxlib"),
        numpy_version=version_of("numpy"),
        numba_version=version_of("numba"),
        environment=speed_variables(os.environ),
        backend=backend,
        device_kind=device_kind,
        timer=timer,
    )


def speed_variables(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that change how fast compiled code is or what it computes, sorted by name."""
    found = (name for name in environment if _SPEED_VARIABLES.fullmatch(name) and not _HARMLESS_VARIABLES.fullmatch(name))
    return {name: environment[name] for name in sorted(found)}


def _agreeing(host: Host, kinds: Iterable[str]) -> dict[str, Any]:
    fields = type(host).__dataclass_fields__
    # A field that came later counts where it says something, so that hosts without it keep their keys.
    return {
        name: value
        for name, one in fields.items()
        if one.metadata.get("agrees") in kinds and ((value := getattr(host, name)) or not one.metadata.get("later"))
    }


def _digest(values: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _affinity() -> tuple[int, ...]:
    """Logical cores of this process; macOS cannot restrict them and has no call to ask."""
    return tuple(sorted(os.sched_getaffinity(0))) if hasattr(os, "sched_getaffinity") else ()


def _linux(root: Path) -> dict[str, Any]:
    info = linux.cpuinfo(root)
    logical = len(linux.online(root)) or psutil.cpu_count()
    physical = linux.physical_cores(root) or told(lambda: psutil.cpu_count(logical=False))
    return {
        "cpu_model": info.get("model name") or _brand(),
        "cpu_signature": _signature(info),
        "cpu_features": linux.features(root),
        "physical_cores": physical,
        "logical_cores": logical,
        "cpu_quota": linux.cpu_quota(root),
        "governor": linux.governor(root),
        "cache_bytes": linux.caches(root, _affinity()) or _configured_caches(physical or 1),
        "memory_bytes": linux.meminfo(root).get("MemTotal") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
        "memory_limit_bytes": linux.memory_limit(root),
        "hypervisor": linux.is_virtual(root),
    }


def _signature(info: Mapping[str, str]) -> str:
    x86 = {"family": "cpu family", "model": "model", "stepping": "stepping"}
    arm = {"implementer": "CPU implementer", "part": "CPU part", "variant": "CPU variant"}
    return " ".join(f"{word} {info[key]}" for word, key in (x86 | arm).items() if key in info)


def _brand() -> str:
    """The processor's name by every other way. Takes about a second, so it is asked last; Arm servers need it."""
    import cpuinfo

    return cpuinfo.get_cpu_info().get("brand_raw") or platform.processor() or "unknown"


def _configured_caches(physical_cores: int) -> dict[str, int]:
    """Data caches by the C library, which asks the processor itself: one per core but for the last level."""
    names = {"LEVEL1_DCACHE_SIZE": "L1", "LEVEL2_CACHE_SIZE": "L2", "LEVEL3_CACHE_SIZE": "L3", "LEVEL4_CACHE_SIZE": "L4"}
    rows = (line.split() for line in _output("getconf", "-a").splitlines())
    sizes = {names[row[0]]: int(row[1]) for row in rows if len(row) == 2 and row[0] in names and row[1].isdigit()}
    levels = sorted(level for level, size in sizes.items() if size)
    return {level: sizes[level] * (1 if level == levels[-1] and len(levels) > 2 else physical_cores) for level in levels}


def _darwin() -> dict[str, Any]:
    """What `sysctl` says. Of unlike cores, the fastest ones' caches count."""
    rows = (line.partition(": ") for line in _output("sysctl", "hw", "machdep.cpu", "kern.hv_vmm_present").splitlines())
    said = {key: value.strip() for key, _, value in rows}
    physical = psutil.cpu_count(logical=False) or 1
    cores = int(said.get("hw.perflevel0.physicalcpu", physical))
    # Cores of Apple's chips share their L2 by cluster; Intel's have one each.
    sharing = int(said.get("hw.perflevel0.cpusperl2", 1))
    keys = {
        "L1": (("hw.perflevel0.l1dcachesize", "hw.l1dcachesize"), cores),
        "L2": (("hw.perflevel0.l2cachesize", "hw.l2cachesize"), max(1, cores // sharing)),
        "L3": (("hw.l3cachesize",), 1),
    }
    sizes = {level: next((int(said[n]) for n in names if n in said), 0) * count for level, (names, count) in keys.items()}
    return {
        "cpu_model": said.get("machdep.cpu.brand_string") or _brand(),
        "physical_cores": physical,
        "logical_cores": psutil.cpu_count(),
        "cache_bytes": {level: size for level, size in sizes.items() if size},
        "memory_bytes": psutil.virtual_memory().total,
        "hypervisor": said.get("kern.hv_vmm_present") == "1",
    }


def _output(*command: str) -> str:
    """What a command prints, "" where it is not there."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return ""
