"""Ceilings that can be sampled at any moment, by the code that is fastest here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...kernels import check
from ...kernels.op import Workload
from ...kernels.registry import supported
from ...kernels.stream import Stream
from .caches import Caches
from .compiled import compile_call
from .overlap import overlapped
from .place import placed
from .prepare import prepare
from .reading import WORD_BYTES, buffer
from .timer import HOST, Timer
from .wake import empty_call

PROFILED_CALLS = 64
"""Empty calls in one profiler session."""


@dataclass(frozen=True)
class Probe:
    """A ceiling that can be sampled at any moment.

    Attributes:
        name: of the ceiling.
        rate: takes one sample; GB/s for a stream, GFLOP/s for arithmetic, turns per microsecond for a core.
        code: the implementation that is sampled.
    """

    name: str
    rate: Callable[[], float]
    code: str = ""


def dispatch_s(timer: Timer = HOST) -> float:
    """Median seconds of an empty compiled call: from Python and back, or of its kernel where the device times it."""
    return dispatch_probe(timer)()


def dispatch_probe(timer: Timer = HOST) -> Callable[[], float]:
    """What takes a sample of `dispatch_s`, compiled once."""
    calls = [empty_call()]

    def sample() -> float:
        if timer.on_device:
            # A profiler session costs far more than what is measured in it.
            return timer.seconds(calls * PROFILED_CALLS, None) / PROFILED_CALLS
        return float(np.median([timer.seconds(calls, None) for _ in range(200)]))

    return sample


def fastest(workload: Workload, backend: str, timer: Timer = HOST, code: str = "") -> Probe:
    """A probe of the implementation that is fastest here: a ceiling is what the machine can, not what one code can.

    Args:
        code: the name of that implementation, where it is known.
    """
    able = [one for one, refusal in supported(workload, backend) if refusal is None and code in ("", one.name)]
    if not able:
        raise RuntimeError(f"no implementation of {workload.label} runs on {backend}")
    cost = workload.cost()
    work = cost.flops if workload.op == "peak" else cost.bytes
    with overlapped(lambda: _operands(workload)) as drawn:
        compiled = [compile_call(workload, one, check.shapes(workload)) for one in able]
        packed = drawn()
    kernels = [
        # One warm copy: a stream's own size says which level it reads, and a product is to be found in cache.
        prepare(workload, one, program, packed, residency="warm", caches=Caches.rotated(0), dispatch_s=0, timer=timer)
        for one, program in zip(able, compiled, strict=True)
    ]
    fastest = min(kernels, key=lambda kernel: min(kernel.sample() for _ in range(3))) if len(kernels) > 1 else kernels[0]
    return Probe(workload.label, lambda: work / fastest.sample() / 1e9, fastest.implementation.name)


def _operands(workload: Workload) -> dict[str, Any]:
    """Of a product as of any kernel; a stream's numbers do not matter, and drawing them would take longer than the probe."""
    if not isinstance(workload, Stream):
        return placed(check.draw(workload, seed=0))[0]
    return {
        name: jnp.zeros(workload.elements, jnp.float32)
        if name in workload.donated
        else jax.device_put(buffer(WORD_BYTES * workload.elements))
        for name in workload.operands()
    }


_PREPARED: dict[tuple[Workload, str, Timer], Probe] = {}
"""Probes of this process, for a sweep samples them again at each configuration."""


def probe(workload: Workload, backend: str, timer: Timer, code: str = "") -> Probe:
    """What `fastest` gives, prepared once per process."""
    found = _PREPARED.get(key := (workload, backend, timer))
    if found is None or code not in ("", found.code):
        found = _PREPARED[key] = fastest(workload, backend, timer, code)
    return found


def read_probe(backend: str, timer: Timer, nbytes: int, code: str = "") -> Probe:
    """The probe of the memory that reads so many bytes."""
    return probe(Stream(kind="read", elements=nbytes // WORD_BYTES), backend, timer, code)
