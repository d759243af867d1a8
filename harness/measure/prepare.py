"""From a workload and an implementation to something that can be timed again and again.

A decode step finds its weights and its cache in memory and its activations in cache. So what streams is read from memory in
each call of a cold sample: caches are emptied before it, or copies rotated through more than they hold, while activations are
shared by all calls. Indices move on from call to call, so that where a call reads few rows of an operand they are not those of
the calls before. A kernel that is long against a dispatch is called directly; a short one is called many times inside one
compiled loop, each call made to wait for the one before. A timer on the device leaves dispatch out, so every kernel is called
directly there, and what too few copies leave in cache is flushed between the calls.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...kernels.op import Implementation, Workload
from ..store.figures import Residency
from .caches import KEPT_MULTIPLE, SAMPLE_S, Caches
from .compiled import Compiled
from .direct import DirectCalls
from .flush import flush_of
from .looped import MOST_TURNS, LoopedCalls
from .place import placed
from .timer import HOST, Call, Timer
from .wake import empty_call, wake

UNROLLED_COPIES = 64
"""Most copies that are separate arguments of a loop; more make compile time grow."""
STACKED_BYTES = 256 * 1024
"""Operands up to this size are stacked and sliced in the loop: the slice copies little and stays in cache."""
DIRECT_DISPATCHES = 50
"""A kernel at least this many dispatches long is called directly: dispatch is then under 2 % of its time."""
_TRIALS = 6
"""Runs whose fastest says how many calls make a sample. Whoever computes beside them makes some longer, and none shorter."""
MOST_PROFILED_CALLS = 64
"""Most calls of one profiler session: each costs host time that does not count, and more would make samples rare."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to be timed.

    Attributes:
        workload, implementation: what is computed, and by which code.
        compiled: one call, ahead of time; its analyses are XLA's word on the cost. None for a peer.
        method: how a sample is taken, in words.
        residency: `cold` if streamed operands come from memory.
        pool_bytes: that are read until a call reads the same weights again.
        calls_per_sample: kernel calls in one sample.
        sample: runs one sample to completion and returns seconds per call.
        timer: name of the clock.
        overhead_s: of a call's time, what is not the program's.
        is_longest: no sample may hold more calls, for one would find in a cache what another read.
        again: makes it ready once more, of operands drawn anew; None where that would change nothing.
    """

    workload: Workload
    implementation: Implementation
    compiled: Compiled | None
    method: str
    residency: Residency
    pool_bytes: float
    calls_per_sample: int
    sample: Callable[[], float]
    timer: str = HOST.name
    overhead_s: float = 0.0
    is_longest: bool = False
    again: Callable[[], Kernel] | None = field(default=None, repr=False)

    def without_operands(self) -> Kernel:
        """What is known of it, once it has been sampled."""
        return replace(self, compiled=None, sample=_let_go, again=None)


def _let_go() -> float:
    raise RuntimeError("the operands of this kernel have been let go of")


def outputs(workload: Workload, compiled: Compiled, packed: Mapping[str, Any]) -> tuple[Any, ...]:
    """The results of one call as NumPy arrays, in the op's order."""
    results = compiled.program(**{name: _own(workload, name, value) for name, value in packed.items()})
    return tuple(jax.device_get(results if isinstance(results, tuple) else (results,)))


def prepare(
    workload: Workload,
    one: Implementation,
    compiled: Compiled,
    packed: Mapping[str, Any],
    *,
    residency: Residency,
    caches: Caches,
    dispatch_s: float,
    calls: int | None = None,
    timer: Timer = HOST,
) -> Kernel:
    """Makes a kernel ready: decides copies and method, and runs it so that nothing is first in a sample.

    Args:
        packed: operands as `kernels.check.draw` makes them, or as `place.placed` placed them.
        residency: `cold` reads what streams from memory, `warm` uses one copy.
        caches: what the machine's ask of a cold sample.
        dispatch_s: seconds that an empty call takes.
        calls: of one sample, in a compiled loop however long the kernel takes; found out if None.
        timer: what times the calls; a compiled loop is always timed by the host.
    """
    tensors = workload.operands()
    streamed = {name: value for name, value in packed.items() if tensors[name].role in ("weight", "kv")}
    hot = {name: jnp.array(value) for name, value in packed.items() if name not in streamed}
    streamed_bytes = sum(tensors[name].nbytes for name in streamed)
    is_cold = residency == "cold"
    copies = caches.copies(workload, streamed_bytes) if is_cold else 1
    empty = caches.empty if is_cold and streamed_bytes else None
    first = {name: _own(workload, name, value) for name, value in streamed.items()}
    jax.block_until_ready(first)
    once = DirectCalls(workload, compiled.program, [first], hot, 1, HOST, before_sample=empty, before_call=wake())
    once_s = _fastest_of_few(once.sample)
    if timer.on_device:
        return _on_device(workload, one, compiled, first, hot, streamed_bytes, copies, once_s, caches, is_cold, timer)
    # What a whole step takes includes its dispatch.
    if calls is None and (once_s >= DIRECT_DISPATCHES * dispatch_s or not workload.is_kernel):
        wanted = max(1, math.ceil(SAMPLE_S / once_s))
        held = min(copies, wanted) if empty else copies
        pool = [first, *placed(first, held - 1)]
        each = held if empty else wanted
        is_longest = bool(empty) and held == copies
        taken: Any = DirectCalls(workload, compiled.program, pool, hot, each, HOST, before_sample=empty, before_call=wake())
        method = f"direct calls{_over(held)}"
    else:
        stacked = copies > 1 and streamed_bytes <= STACKED_BYTES
        held = copies if stacked else min(copies, UNROLLED_COPIES)
        taken = LoopedCalls(workload, one, first, hot, held, stacked=stacked, before_sample=empty)
        is_longest = False
        if calls is not None:
            taken.take_turns(calls)
        else:
            # Every call of a sample finds its weights where nobody has touched them since the caches were emptied.
            most_turns = MOST_TURNS if not empty or held == 1 else held if stacked else 1
            taken.last(max(SAMPLE_S, 2 * DIRECT_DISPATCHES * dispatch_s), most_turns, _TRIALS)
            is_longest = taken.turns == most_turns
        method = f"compiled loop of {taken.calls} calls{_over(held)}"
    taken.sample()
    turnover = _turnover(workload, streamed_bytes, held, taken.calls, caches, bool(empty))
    return Kernel(
        workload,
        one,
        compiled,
        method + (", caches emptied before each sample" if empty else ""),
        _residency(workload, residency, turnover, caches),
        turnover,
        taken.calls,
        taken.sample,
        overhead_s=taken.overhead_s,
        is_longest=is_longest,
    )


def prepare_peer(
    workload: Workload,
    one: Implementation,
    call: Callable[[], Any],
    packed: Mapping[str, Any],
    *,
    residency: Residency,
    caches: Caches,
) -> Kernel:
    """Makes another library's code ready: direct calls, each on the next copy of what streams, as ours are timed.

    Args:
        call: computes the results, as `one` made it of the operands.
        packed: the operands, of which further calls are made.
        residency, caches: see `prepare`.
    """
    streamed = {name: value for name, value in packed.items() if workload.operands()[name].role in ("weight", "kv")}
    streamed_bytes = sum(workload.operands()[name].nbytes for name in streamed)
    empty = caches.empty if residency == "cold" and streamed_bytes else None

    def made() -> Callable[[], Any]:
        return one.function(workload, **jax.tree.map(np.copy, dict(packed)))

    pool = [call]
    # A call of a copy that is not timed wakes the library's threads, which may take a thousand times as long as a small kernel.
    waker = made() if empty and streamed_bytes < caches.rotation_bytes else empty_call()

    def sample_of(todo: list[Callable[[], Any]]) -> float:
        if empty:
            empty()
        # Not before every call: XLA's threads would be in the way of the library's.
        waker()
        return HOST.seconds(todo, None) / len(todo)

    calls = max(1, math.ceil(SAMPLE_S / min(sample_of(pool) for _ in range(_TRIALS))))
    held = caches.copies(workload, streamed_bytes) if residency == "cold" else 1
    if empty:
        held = calls = min(held, calls)
    pool += [made() for _ in range(held - 1)]
    position = 0

    def sample() -> float:
        nonlocal position
        todo = [pool[(position + number) % held] for number in range(calls)]
        position = (position + calls) % held
        return sample_of(todo)

    turnover = _turnover(workload, streamed_bytes, held, calls, caches, bool(empty))
    method = f"direct calls{_over(held)}" + (", caches emptied before each sample" if empty else "")
    return Kernel(
        workload, one, None, method, _residency(workload, residency, turnover, caches), turnover, calls, sample,
        overhead_s=_peer_overhead_s(), is_longest=bool(empty),
    )  # fmt: skip


def needed_bytes(workload: Workload, caches: Caches, residency: Residency = "cold", *, is_peer: bool = False) -> float:
    """Bytes that a workload holds while it is timed: its operands, further copies of what streams, and its results."""
    operands = workload.operands()
    streamed = sum(tensor.nbytes for tensor in operands.values() if tensor.role in ("weight", "kv"))
    copies = caches.copies(workload, streamed) if residency == "cold" else 1
    others = sum(tensor.nbytes for tensor in (*operands.values(), *workload.results().values())) - streamed
    # What a call donates is drawn, checked and then copied for JAX to take.
    further = sum(operands[name].nbytes for name in workload.donated)
    if is_peer:
        # Other libraries lay out weights in their own way, and a copy of small ones is only to wake their threads.
        further = streamed * (2 if streamed < caches.rotation_bytes else 1)
    return copies * streamed + others + further


def _on_device(
    workload: Workload,
    one: Implementation,
    compiled: Compiled,
    first: dict[str, Any],
    hot: Mapping[str, Any],
    streamed_bytes: float,
    copies: int,
    once_s: float,
    caches: Caches,
    is_cold: bool,
    timer: Timer,
) -> Kernel:
    held = min(copies, UNROLLED_COPIES)
    flushed = is_cold and bool(streamed_bytes) and held * streamed_bytes < 2 * caches.last_level_bytes
    flush: Call | None = flush_of(KEPT_MULTIPLE * caches.last_level_bytes) if flushed else None
    calls = min(MOST_PROFILED_CALLS, max(1, math.ceil(SAMPLE_S / once_s)))
    pool = [first, *placed(first, held - 1)]
    taken = DirectCalls(workload, compiled.program, pool, hot, calls, timer, before_call=flush)
    turnover = held * streamed_bytes + (KEPT_MULTIPLE * caches.last_level_bytes if flushed else 0)
    return Kernel(
        workload,
        one,
        compiled,
        f"direct calls{_over(held)}" + (", the cache flushed before each" if flushed else ""),
        _residency(workload, "cold" if is_cold else "warm", turnover, caches),
        turnover,
        calls,
        taken.sample,
        timer.name,
    )


def _turnover(workload: Workload, streamed_bytes: float, held: int, calls: int, caches: Caches, is_emptied: bool) -> float:
    """Bytes that are read until a call reads the same again."""
    rows_move_on = bool(workload.touched())
    if is_emptied and (calls <= held or rows_move_on):
        return max(caches.turnover_bytes, held * streamed_bytes)
    return held * streamed_bytes


def _residency(workload: Workload, wanted: Residency, turnover: float, caches: Caches) -> Residency:
    beyond = KEPT_MULTIPLE / 2 * caches.last_level_bytes
    return "cold" if wanted == "cold" and (turnover >= beyond or not workload.cost().streamed_bytes) else "warm"


def _over(held: int) -> str:
    return f" over {held} copies" if held > 1 else ""


def _own(workload: Workload, name: str, value: Any) -> Any:
    """An operand for one call: what the call donates is a copy that JAX made and may take."""
    return jax.tree.map(jnp.array if name in workload.donated else jnp.asarray, value)


def _fastest_of_few(sample: Callable[[], float]) -> float:
    """The shortest of two samples after a first one, and of more where they are short: others' work may be beside a few."""
    sample()
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < _TRIALS and sum(seconds) < _TRIALS * SAMPLE_S):
        seconds.append(sample())
    return min(seconds)


def _peer_overhead_s() -> float:
    """Seconds that the host's clock shows of a call that does nothing."""
    return min(HOST.seconds([time.perf_counter], empty_call()) for _ in range(3))
