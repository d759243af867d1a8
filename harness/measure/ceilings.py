"""The machine's own limits, measured in JAX."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np

from ...kernels import check
from ...kernels.op import Workload
from ...kernels.peak import Peak
from ...kernels.registry import supported
from ...kernels.stream import Stream
from ..host.host import DEFAULT_CACHE_BYTES
from ..store.figures import Ceilings
from ..store.known_ceilings import Known, Shelf
from ..store.record import utc_now
from .compiled import compile_call
from .core import core_probe
from .meanwhile import meanwhile
from .place import placed
from .prepare import prepare
from .spent import Held, Spent
from .timer import HOST, Timer
from .wake import empty_call

STREAM_MULTIPLE = 16
"""Last-level caches that a probe of the memory streams through. A shorter one spends some percent of its call on starting
its threads, and large kernels then come out above the ceiling."""
ROUNDS = 7
"""Interleaved samples per probe; the level is their 90th percentile."""

_GO_ON = ("read", "multiply_add")
"""Probes that are sampled beside the kernels."""

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


@dataclass(frozen=True)
class Limits:
    """The machine's ceilings, and the probes that go on beside the kernels.

    Attributes:
        ceilings: every level measured.
        read, multiply_add: the probes of memory and of arithmetic.
        core: the probe of the core that calls, None where that is not what computes.
    """

    ceilings: Ceilings
    read: Probe
    multiply_add: Probe
    core: Probe | None = None


def measure_limits(
    backend: str,
    cache_bytes: Mapping[str, int],
    formats: Sequence[str],
    timer: Timer = HOST,
    *,
    shelf: Shelf | None = None,
    shared: Held = nullcontext,
    alone: Held = nullcontext,
    spent: Spent | None = None,
) -> Limits:
    """Measures read, copy and triad from memory, read per cache level, arithmetic peaks and dispatch latency.

    Args:
        backend: JAX's name of it.
        cache_bytes: size per level, smallest first, as all cores together see it.
        formats: number formats to measure a matrix product in.
        timer: what times the probes; that of the kernels, so that their ratio means something.
        shelf: where another process may have left its ceilings, and where this one leaves its own; None asks nobody.
        shared, alone: entered around what others may do too, and around what they may not.
        spent: told what preparing and measuring took.
    """
    spent = spent or Spent()
    workloads = _workloads(tuple(cache_bytes.items()), tuple(formats))
    known = shelf.find() if shelf else None
    if known is None:
        with alone():
            # Another process may have measured them while this one waited for its turn.
            known = shelf.find() if shelf else None
            if known is None:
                with spent.proving():
                    probes = {name: _fastest(workload, backend, timer) for name, workload in workloads.items()}
                    core = _core(backend)
                with spent.measuring():
                    ceilings = _measured(probes, core, cache_bytes, formats, timer)
                known = Known(ceilings, {name: one.code for name, one in probes.items()})
                if shelf is not None:
                    shelf.keep(known)
    with shared(), spent.proving():
        read, multiply_add = (_fastest(workloads[name], backend, timer, known.codes[name]) for name in _GO_ON)
        return Limits(known.ceilings, read, multiply_add, _core(backend))


def _core(backend: str) -> Probe | None:
    return Probe("core", core_probe()) if backend == "cpu" else None


def _measured(
    probes: Mapping[str, Probe],
    core: Probe | None,
    cache_bytes: Mapping[str, int],
    formats: Sequence[str],
    timer: Timer,
) -> Ceilings:
    rates: dict[str, list[float]] = {name: [] for name in probes}
    turns: list[float] = []
    rng = np.random.default_rng(0)
    for _ in range(ROUNDS):
        for name in rng.permutation(list(probes)):
            rates[name].append(probes[name].rate())
            if core:
                turns.append(core.rate())
    level = {name: float(np.quantile(samples, 0.9)) for name, samples in rates.items()}
    return Ceilings(
        read_gbs=level["read"],
        copy_gbs=level["copy"],
        triad_gbs=level["triad"],
        cache_read_gbs={name: level[name] for name in cache_bytes},
        multiply_add_gflops=level["multiply_add"],
        matmul_gflops={name: level[f"matmul {name}"] for name in formats},
        dispatch_us=dispatch_s(timer) * 1e6,
        core_turns_per_us=float(np.quantile(turns, 0.9)) if turns else None,
        probed_at=utc_now(),
    )


def _workloads(cache_bytes: tuple[tuple[str, int], ...], formats: tuple[str, ...]) -> dict[str, Workload]:
    last_level = max((size for _, size in cache_bytes), default=DEFAULT_CACHE_BYTES)
    far = STREAM_MULTIPLE * last_level // 4
    workloads: dict[str, Workload] = {
        "read": Stream(kind="read", elements=far),
        "copy": Stream(kind="copy", elements=far // 2),
        "triad": Stream(kind="triad", elements=far // 3),
        "multiply_add": Peak(kind="multiply_add", format="f32", size=4096, repeats=4096),
    }
    for level, size in cache_bytes:
        # Half a level, so that what else lives there does not push the buffer out.
        elements = size // 2 // 4
        workloads[level] = Stream(kind="read", elements=elements, repeats=max(1, far // elements // 4))
    return workloads | {f"matmul {name}": Peak(kind="matmul", format=name, size=1024) for name in formats}


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
    with meanwhile(lambda: placed(check.draw(workload, seed=0))) as drawn:
        compiled = [compile_call(workload, one, check.shapes(workload)) for one in able]
        [packed] = drawn()
    kernels = [
        # One warm copy: a stream's own size says which level it reads, and a product is to be found in cache.
        prepare(workload, one, program, packed, residency="warm", cache_bytes=0, dispatch_s=0, timer=timer)
        for one, program in zip(able, compiled, strict=True)
    ]
    fastest = min(kernels, key=lambda kernel: min(kernel.sample() for _ in range(3))) if len(kernels) > 1 else kernels[0]
    return Probe(workload.label, lambda: work / fastest.sample() / 1e9, fastest.implementation.name)


_PREPARED: dict[tuple[Workload, str, Timer], Probe] = {}
"""Probes of this process, for a sweep samples them again at each configuration."""


def _fastest(workload: Workload, backend: str, timer: Timer, code: str = "") -> Probe:
    found = _PREPARED.get(key := (workload, backend, timer))
    if found is None or code not in ("", found.code):
        found = _PREPARED[key] = fastest(workload, backend, timer, code)
    return found
