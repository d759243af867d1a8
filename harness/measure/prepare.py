"""From a workload and an implementation to something that can be timed again and again.

A decode step finds its weights and its cache in memory and its activations in cache. So operands that stream
are kept in several copies that together exceed the last-level cache and are used in turn (cold), while
activations are shared by all calls. Indices move on from call to call, so that where a call reads few rows of an
operand they are not those of the calls before. A kernel that is long against a dispatch is called directly; a short one
is called many times inside one compiled loop, each call made to wait for the one before. A timer on the device leaves dispatch
out, so every kernel is called directly there, and what too few copies leave in cache is flushed between the calls.
"""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...kernels.op import Implementation, Workload
from ..store.figures import Residency
from . import loops
from .compiled import Compiled, spec
from .flush import flush_of
from .meanwhile import meanwhile
from .place import placed, stack
from .spent import compiling
from .timer import HOST, Call, Timer
from .wake import empty_call

CACHE_MULTIPLE = 4
"""Rotated copies add up to this many last-level caches, so that a pseudo-LRU cache keeps next to nothing of them."""
UNROLLED_COPIES = 64
"""Most copies that are separate arguments of a loop; more make compile time grow without making weights colder."""
STACKED_BYTES = 256 * 1024
"""Operands up to this size are stacked and sliced in the loop: the slice copies little and stays in cache."""
DIRECT_DISPATCHES = 50
"""A kernel at least this many dispatches long is called directly: dispatch is then under 2 % of its time."""
MOST_TURNS = 10**8
"""A loop that is still too short then has lost its calls to the compiler; its samples will be refused as impossible."""
_TRIALS = 6
"""Runs whose fastest says how many calls make a sample. Whoever computes beside them makes some longer, and none shorter."""
SAMPLE_S = 2e-3
"""Calls are batched until a sample lasts this long: far above the timer's resolution, short against drift."""
MOST_PROFILED_CALLS = 64
"""Most calls of one profiler session: each costs host time that does not count, and more would make samples rare."""


@dataclass(frozen=True)
class Kernel:
    """A kernel that is ready to be timed.

    Attributes:
        workload, implementation: what is computed, and by which code.
        compiled: one call, ahead of time; its analyses are XLA's word on the cost. None for a peer.
        method: how a sample is taken, in words.
        residency: `cold` if streamed operands exceed the last-level cache between uses.
        pool_bytes: bytes of all rotated copies.
        calls_per_sample: kernel calls in one sample.
        sample: runs one sample to completion and returns seconds per call.
        timer: name of the clock.
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
    again: Callable[[], Kernel] | None = field(default=None, repr=False)


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
    cache_bytes: float,
    dispatch_s: float,
    calls: int | None = None,
    timer: Timer = HOST,
) -> Kernel:
    """Makes a kernel ready: decides copies and method, and runs it once so that nothing is first in a sample.

    Args:
        packed: operands as `kernels.check.draw` makes them, or as `place.placed` placed them.
        residency: `cold` rotates copies of what streams, `warm` uses one copy.
        cache_bytes: the last-level cache.
        dispatch_s: seconds that an empty call takes.
        calls: of one sample, in a compiled loop however long the kernel takes; found out if None.
        timer: what times the calls; a compiled loop is always timed by the host.
    """
    tensors = workload.operands()
    streamed = {name: value for name, value in packed.items() if tensors[name].role in ("weight", "kv")}
    hot = {name: jnp.array(value) for name, value in packed.items() if name not in streamed}
    # A gathered row is cold in any table beyond the cache, and the row changes from call to call.
    resident = sum(tensors[name].nbytes for name in streamed)
    copies = _copies(workload, residency, cache_bytes, resident)
    first = {name: _own(workload, name, value) for name, value in streamed.items()}
    once_s = _seconds_of_one(workload, compiled, first, hot)

    flushed = False
    if timer.on_device:
        held = min(copies, UNROLLED_COPIES)
        flushed = residency == "cold" and bool(resident) and held * resident < 2 * cache_bytes
        pool = [first, *placed(first, held - 1)]
        flush = flush_of(CACHE_MULTIPLE * cache_bytes) if flushed else None
        sample, calls = _direct(workload, compiled, pool, hot, min(MOST_PROFILED_CALLS, _calls(once_s)), timer, flush)
        method = f"direct calls over {held} copies" if held > 1 else "direct calls"
        method += ", the cache flushed before each" if flushed else ""
    elif calls is None and once_s >= DIRECT_DISPATCHES * dispatch_s:
        pool = [first, *placed(first, copies - 1)]
        sample, calls = _direct(workload, compiled, pool, hot, _calls(once_s), timer)
        method = f"direct calls over {len(pool)} copies" if len(pool) > 1 else "direct calls"
        held = len(pool)
    else:
        stacked = copies > 1 and resident <= STACKED_BYTES
        held = copies if stacked else min(copies, UNROLLED_COPIES)
        sample, calls = _looped(workload, one, first, hot, held, stacked=stacked, dispatch_s=dispatch_s, calls=calls)
        method = f"compiled loop of {calls} calls over {held} copies" if held > 1 else f"compiled loop of {calls} calls"
    is_cold = flushed or not workload.cost().streamed_bytes or held * resident >= 2 * cache_bytes
    residency = "cold" if is_cold and residency == "cold" else "warm"
    return Kernel(workload, one, compiled, method, residency, held * resident, calls, sample, timer.name)


def prepare_peer(
    workload: Workload, one: Implementation, packed: Mapping[str, Any], *, residency: Residency, cache_bytes: float
) -> Kernel:
    """Makes another library's code ready: direct calls, each on the next copy of what streams, as ours are timed."""
    streamed = {name: value for name, value in packed.items() if workload.operands()[name].role in ("weight", "kv")}
    resident = sum(workload.operands()[name].nbytes for name in streamed)
    held = _copies(workload, residency, cache_bytes, resident)
    calls = [one.function(workload, **jax.tree.map(np.copy, dict(packed))) for _ in range(held)]
    # The first call wakes the library's threads, which may take a thousand times as long as a small kernel.
    turns = max(1, math.ceil(SAMPLE_S / min(_seconds(calls[0]) for _ in range(_TRIALS))))
    position = 0

    def sample() -> float:
        nonlocal position
        # Not before every call: XLA's threads would be in the way of the library's.
        empty_call()()
        start = time.perf_counter()
        for _ in range(turns):
            calls[position]()
            position = (position + 1) % held
        return (time.perf_counter() - start) / turns

    is_cold = not workload.cost().streamed_bytes or held * resident >= 2 * cache_bytes
    method = f"direct calls over {held} copies" if held > 1 else "direct calls"
    return Kernel(
        workload, one, None, method, "cold" if is_cold and residency == "cold" else "warm", held * resident, turns, sample
    )


def _seconds(call: Callable[[], Any]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _copies(workload: Workload, residency: Residency, cache_bytes: float, resident: float) -> int:
    if residency == "warm" or not resident or workload.donated:
        return 1
    return max(1, math.ceil(CACHE_MULTIPLE * cache_bytes / resident))


def _own(workload: Workload, name: str, value: Any) -> Any:
    """An operand for one call: what the call donates is a copy that JAX made and may take."""
    return jax.tree.map(jnp.array if name in workload.donated else jnp.asarray, value)


def _seconds_of_one(workload: Workload, compiled: Compiled, streamed: dict[str, Any], hot: Mapping[str, Any]) -> float:
    """The shortest of two calls after a first one, and of more where they are short: others' work may be beside a few."""
    jax.block_until_ready(streamed)
    call = functools.partial(_call, workload, compiled, streamed, hot)
    HOST.seconds([call], empty_call())
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < _TRIALS and sum(seconds) < _TRIALS * SAMPLE_S):
        seconds.append(HOST.seconds([call], empty_call()))
    return min(seconds)


def _call(workload: Workload, compiled: Compiled, streamed: dict[str, Any], hot: Mapping[str, Any]) -> None:
    """One call to its end; results that took the place of operands become the next call's."""
    results = jax.block_until_ready(compiled.program(**streamed, **hot))
    if workload.donated:
        given = zip(workload.results(), results if isinstance(results, tuple) else (results,), strict=True)
        streamed.update((name, result) for name, result in given if name in workload.donated)


def _calls(once_s: float) -> int:
    return max(1, math.ceil(SAMPLE_S / once_s))


def _direct(
    workload: Workload,
    compiled: Compiled,
    pool: list[dict[str, Any]],
    hot: Mapping[str, Any],
    calls: int,
    timer: Timer,
    flush: Call | None = None,
) -> tuple[Callable[[], float], int]:
    """Blocked calls of the compiled kernel, each on the next copy; donated results become the next operands."""
    first = 0
    before_each = flush if timer.on_device else empty_call()

    def sample() -> float:
        nonlocal first
        numbers = range(first, first + calls)
        inputs = jax.block_until_ready([loops.moved_on(workload, hot, number // len(pool)) for number in numbers])
        first += calls
        todo = [
            functools.partial(_call, workload, compiled, pool[number % len(pool)], mine)
            for number, mine in zip(numbers, inputs, strict=True)
        ]
        return timer.seconds(todo, before_each) / calls

    return sample, calls


def _looped(
    workload: Workload,
    one: Implementation,
    first: dict[str, Any],
    hot: dict[str, Any],
    copies: int,
    *,
    stacked: bool,
    dispatch_s: float,
    calls: int | None,
) -> tuple[Callable[[], float], int]:
    """A compiled loop over the copies, each call waiting for the one before, so that one dispatch pays for many calls."""
    carried = {name: first[name] for name in workload.donated if name in first}
    kept = {name: value for name, value in first.items() if name not in carried}
    like = jax.tree.map(spec, kept)

    def pooled() -> Any:
        return (
            jax.tree.map(lambda leaf: stack(loops.bits(leaf), copies), kept) if stacked else [kept, *placed(kept, copies - 1)]
        )

    with meanwhile(pooled) as made, compiling():
        shapes = jax.eval_shape(functools.partial(one.function, workload), **first, **hot)
        # Where buffers are handed on, they are the chain; elsewhere the results are.
        results = jnp.zeros(()) if carried else jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        state: loops.State = (carried, hot, results)
        pool_like = jax.tree.map(lambda leaf: loops.stacked(leaf, copies), like) if stacked else [like] * copies
        turn_number = jax.ShapeDtypeStruct((), jnp.int32)
        loop = jax.jit(functools.partial(loops.turns, workload, one, like if stacked else None), donate_argnums=(1,))
        program = loop.lower(pool_like, jax.tree.map(spec, state), turn_number, turn_number).compile()
    pool = made()

    first_turn = 0

    def run(turns: int) -> float:
        nonlocal state, first_turn
        empty_call()()
        start = time.perf_counter()
        state = jax.block_until_ready(program(pool, state, np.int32(first_turn), np.int32(first_turn + turns)))
        seconds = time.perf_counter() - start
        # Go on where the last sample stopped: rows and copies that it left in cache are not visited again at once.
        first_turn = (first_turn + turns) % MOST_TURNS
        return seconds

    calls_per_turn = 1 if stacked else copies
    turns = 1 if calls is None else math.ceil(calls / calls_per_turn)
    wanted_s = max(SAMPLE_S, 2 * DIRECT_DISPATCHES * dispatch_s)
    run(turns)
    while calls is None and (seconds := _fastest(run, turns, wanted_s)) < wanted_s and turns < MOST_TURNS:
        turns = math.ceil(turns * min(8.0, max(1.5, 1.2 * wanted_s / seconds)))
    per_sample = turns * calls_per_turn
    return lambda: run(turns) / per_sample, per_sample


def _fastest(run: Callable[[int], float], turns: int, wanted_s: float) -> float:
    """The fastest of two runs or, if both were long enough, of several."""
    seconds = min(run(turns), run(turns))
    return seconds if seconds < wanted_s else min(seconds, *(run(turns) for _ in range(_TRIALS - 2)))
