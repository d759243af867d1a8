"""A kernel is proven right, and prepared, before it is timed."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from ...kernels import check
from ...kernels.op import Implementation, Workload, is_peer
from ..store.figures import Residency
from .caches import Caches
from .compiled import compile_call
from .cost_check import xla_cost
from .overlap import overlapped
from .place import placed
from .prepare import Kernel, needed_bytes, outputs, prepare, prepare_peer
from .result import Machine, Result, words
from .spent import Held, compiled_s
from .timer import HOST

PEER_TOLERANCE = 2e-2
"""Accepted of other libraries, which round the vector to the weights' precision or add up in less than float32. The errors
of products that follow each other are independent, and add up as squares."""

_MOST_REFERENCES = 64
"""Kept from job to job; the largest, of the logits of one token, take a megabyte each."""
_references: dict[tuple[Workload, int], tuple[Any, ...]] = {}

Draw = Callable[[Workload, int], Mapping[str, Any]]


def ready(
    workload: Workload,
    one: Implementation,
    machine: Machine,
    residency: Residency,
    draw: Callable[[Workload], Mapping[str, Any]],
    *,
    seed: int | None = None,
    drawing: Held = nullcontext,
    on_host: Held = nullcontext,
    on_device: Held = nullcontext,
) -> Result:
    """Compiles while operands are drawn, proves the result, and prepares the timing; stops where one of them says no.

    Args:
        draw: makes the packed operands of a call.
        seed: of what `check.draw` draws, so that equal calls have one reference; None if it comes from elsewhere.
        drawing: entered around drawing, in a thread beside this one.
        on_host: entered around what needs no device but a CPU: the float64 reference.
        on_device: entered around what runs there. Compiling does: XLA times candidates for a GPU on the GPU.
    """
    caches = machine.limits.caches
    measured = stand_in(workload, caches, residency)
    needed = needed_bytes(measured, caches, residency, is_peer=one.is_peer)
    if refusal := machine.budget.refusal(needed, machine.limits.probe_bytes):
        return Result(workload, one.name, "refused", refusal)
    start = compiled_s()
    if one.is_peer:
        result = _ready_peer(measured, one, machine, residency, draw, drawing, on_device)
    else:
        result = _proven(measured, one, machine, residency, draw, seed, drawing, on_host, on_device)
    return replace(result, workload=workload, programs_s=compiled_s() - start)


def _proven(
    workload: Workload,
    one: Implementation,
    machine: Machine,
    residency: Residency,
    draw: Callable[[Workload], Mapping[str, Any]],
    seed: int | None,
    drawing: Held,
    on_host: Held,
    on_device: Held,
) -> Result:
    try:
        with overlapped(_drawn, workload, draw, drawing) as drawn, on_device():
            compiled = compile_call(workload, one, check.shapes(workload))
            packed, operands = drawn()
            computed = outputs(workload, compiled, operands)
    except Exception as error:
        # An implementation may fail in any way its compiler can; the others must still be measured.
        return Result(workload, one.name, "failed", words(error))
    xla = xla_cost(compiled.program, workload, machine.backend)
    with on_host():
        wrong = check.error(workload, computed, _reference(workload, packed, computed, seed))
    if not wrong <= workload.tolerance():
        return Result(workload, one.name, "wrong", _too_far(wrong, workload.tolerance()), wrong, compiled, xla)
    # What a step loses between its kernels is part of it.
    timer = HOST if workload.op == "step" else machine.timer
    prepared = functools.partial(
        prepare,
        workload,
        one,
        compiled,
        residency=residency,
        caches=machine.limits.caches,
        dispatch_s=machine.limits.ceilings.dispatch_us / 1e6,
        timer=timer,
    )
    try:
        with on_device():
            kernel = prepared(operands)
    except Exception as error:
        return Result(workload, one.name, "failed", words(error), wrong, compiled, xla)
    if not timer.on_device:
        kernel = replace(kernel, again=lambda: prepared(placed(draw(workload))[0]))
    return Result(workload, one.name, "ok", "", wrong, compiled, xla, kernel)


def _drawn(
    workload: Workload, draw: Callable[[Workload], Mapping[str, Any]], drawing: Held
) -> tuple[Mapping[str, Any], dict[str, Any]]:
    with drawing():
        packed = draw(workload)
        return packed, placed(packed)[0]


def _reference(workload: Workload, packed: Mapping[str, Any], computed: tuple[Any, ...], seed: int | None) -> tuple[Any, ...]:
    if seed is None or workload.follows_outputs:
        return check.expected(workload, packed, computed)
    if (found := _references.get((workload, seed))) is None:
        # A sweep over contexts asks for the same products again and again.
        found = _references[workload, seed] = check.expected(workload, packed)
        if len(_references) > _MOST_REFERENCES:
            del _references[next(iter(_references))]
    return found


def _ready_peer(
    workload: Workload,
    one: Implementation,
    machine: Machine,
    residency: Residency,
    draw: Callable[[Workload], Mapping[str, Any]],
    drawing: Held,
    on_device: Held,
) -> Result:
    with drawing():
        packed = draw(workload)

    def prepared(call: Callable[[], Any], packed: Mapping[str, Any]) -> Kernel:
        return prepare_peer(workload, one, call, packed, residency=residency, caches=machine.limits.caches)

    def again() -> Kernel:
        packed = draw(workload)
        return prepared(one.function(workload, **packed), packed)

    try:
        with on_device():
            call = one.function(workload, **packed)
            wrong = check.error(workload, call(), check.expected(workload, packed), partial=True)
            if not wrong <= (limit := tolerance(workload, one.name)):
                return Result(workload, one.name, "wrong", _too_far(wrong, limit), wrong)
            kernel = prepared(call, packed)
    except Exception as error:
        # Another library may fail in any way it likes; ours must still be measured.
        return Result(workload, one.name, "failed", words(error))
    return Result(workload, one.name, "ok", "", wrong, kernel=replace(kernel, again=again))


def tolerance(workload: Workload, implementation: str) -> float:
    """The largest error that is accepted of an implementation, by name."""
    if not is_peer(implementation):
        return workload.tolerance()
    return max(workload.tolerance(), PEER_TOLERANCE * math.sqrt(workload.products))


def _too_far(wrong: float, limit: float) -> str:
    return f"its error of {wrong:.2g} against the float64 reference exceeds {limit:.2g}"


def stand_in(workload: Workload, caches: Caches, residency: Residency) -> Workload:
    """What is measured in a workload's place. Where operands may be in cache, a call need keep no others."""
    return workload.stand_in(caches.rotation_bytes if residency == "cold" else 0)
