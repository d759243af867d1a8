"""What the driver of an NVIDIA GPU says: clocks, power, temperature, what slows it down, its cache. Imports no JAX.

The parse follows `nvidia-smi --help-query-gpu`; what a device does not tell is `[N/A]` there and None here. No GPU has been
asked by this module yet: it is checked against outputs written after that documentation.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

DRIVER = "proc/driver/nvidia/version"
"""Where Linux tells of the driver, under the root."""
_FIGURES: Mapping[str, str] = {
    "sm_clock_mhz": "clocks.sm",
    "sm_clock_most_mhz": "clocks.max.sm",
    "memory_clock_mhz": "clocks.mem",
    "power_w": "power.draw",
    "power_limit_w": "power.limit",
    "temperature_c": "temperature.gpu",
    "utilization_percent": "utilization.gpu",
    "memory_used_mib": "memory.used",
}
"""Field -> what nvidia-smi calls it."""
_REASONS = ("clocks_event_reasons.active", "clocks_throttle_reasons.active")
"""The same bits by the name of newer and of older drivers."""
BITS: Mapping[int, str] = {
    0x1: "idle",
    0x2: "application clocks",
    0x4: "software power cap",
    0x8: "hardware slowdown",
    0x10: "sync boost",
    0x20: "software thermal slowdown",
    0x40: "hardware thermal slowdown",
    0x80: "hardware power brake",
    0x100: "display clocks",
}
"""Bit -> reason, from nvml.h (`nvmlClocksEventReason*`)."""
THROTTLES = frozenset((0x4, 0x8, 0x20, 0x40, 0x80))
"""Bits by which a GPU is slower than its settings allow."""
_L2_CACHE_SIZE = 38
"""CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE of cuda.h."""


@dataclass(frozen=True)
class GpuState:
    """A GPU at one moment; None is what it does not tell.

    Attributes:
        name, driver: of the product and the driver's version.
        sm_clock_mhz, sm_clock_most_mhz, memory_clock_mhz: of the multiprocessors now and at the most, and of the memory.
        power_w, power_limit_w, temperature_c, utilization_percent, memory_used_mib: now, and what is allowed.
        reasons: bits of why clocks are what they are. See `BITS`.
    """

    name: str
    driver: str
    reasons: int | None = None
    sm_clock_mhz: float | None = None
    sm_clock_most_mhz: float | None = None
    memory_clock_mhz: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    temperature_c: float | None = None
    utilization_percent: float | None = None
    memory_used_mib: float | None = None

    @property
    def throttled_by(self) -> tuple[str, ...]:
        """What makes it slower than its settings allow."""
        return tuple(BITS[bit] for bit in sorted(THROTTLES) if (self.reasons or 0) & bit)

    def figures(self) -> dict[str, float]:
        """What is recorded of a run: every figure that there is, by name."""
        named = {name: getattr(self, name) for name in (*_FIGURES, "reasons")}
        return {name: float(value) for name, value in named.items() if value is not None}


def gpu_state(index: str = "0", ask: Callable[..., str] | None = None) -> GpuState | None:
    """The state of a GPU, None where nvidia-smi is not there or does not answer.

    Args:
        index: its number or UUID, as CUDA_VISIBLE_DEVICES has it.
        ask: runs a command and returns what it prints, "" where it fails.
    """
    for reasons in _REASONS:
        asked = ("name", "driver_version", reasons, *_FIGURES.values())
        said = (ask or _output)(
            "nvidia-smi", f"--id={index}", f"--query-gpu={','.join(asked)}", "--format=csv,noheader,nounits"
        )
        if state := parse(said):
            return state
    return None


def parse(said: str) -> GpuState | None:
    """The state that a line of `nvidia-smi --format=csv,noheader,nounits` tells, in the order that `gpu_state` asks."""
    values = [one.strip() for one in said.strip().partition("\n")[0].split(",")]
    if len(values) != 3 + len(_FIGURES):
        return None
    name, driver, reasons, *figures = values
    return GpuState(name, driver, _bits(reasons), **dict(zip(_FIGURES, map(_number, figures), strict=True)))


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _bits(text: str) -> int | None:
    return int(text, 16) if text.lower().startswith("0x") else None


def _output(*command: str) -> str:
    if shutil.which(command[0]) is None:
        return ""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def l2_bytes(number: int = 0, load: Callable[[str], Any] = ctypes.CDLL) -> int | None:
    """The L2 cache of a visible GPU by CUDA's driver, None where there is no driver or it does not tell."""
    try:
        cuda = load("libcuda.so.1")
    except OSError:
        return None
    device, size = ctypes.c_int(), ctypes.c_int()
    calls = (
        lambda: cuda.cuInit(0),
        lambda: cuda.cuDeviceGet(ctypes.byref(device), number),
        lambda: cuda.cuDeviceGetAttribute(ctypes.byref(size), _L2_CACHE_SIZE, device),
    )
    return size.value if all(call() == 0 for call in calls) and size.value > 0 else None
