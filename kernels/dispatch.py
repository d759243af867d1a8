"""Calls computed by the best implementation that a backend has for each: what whole programs are made of."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax

from .op import Implementation, Workload
from .registry import supported

_KEPT_CALLS = 256
"""Compiled calls that are kept: those of some contexts, for a growing cache asks for two more with each token."""


def refusal(calls: Mapping[str, Workload], backend: str) -> str | None:
    """Why a backend cannot compute some calls, by role, or None: the first that no implementation takes."""
    for role, call in calls.items():
        offered = list(supported(call, backend))
        if not any(reason is None for _, reason in offered):
            reasons = "; ".join(f"{one.name}: {reason}" for one, reason in offered) or f"none is for {backend}"
            return f"nothing computes its {role}, {call.label} ({reasons})"
    return None


def compute(call: Workload, **operands: Any) -> tuple[Any, ...]:
    """The results of a call, in order."""
    results = _compiled(call, jax.default_backend())(**operands)
    return results if isinstance(results, tuple) else (results,)


def forget() -> None:
    """Traces every call anew: it may be cut by other sizes (`blocks`)."""
    _compiled.cache_clear()


@functools.lru_cache(_KEPT_CALLS)
def _best(call: Workload, backend: str) -> Implementation:
    return next(one for one, reason in supported(call, backend) if reason is None)


@functools.lru_cache(_KEPT_CALLS)
def _compiled(call: Workload, backend: str) -> Callable[..., Any]:
    # Equal calls of a step's layers are traced once, and outside a program they are compiled once.
    return jax.jit(functools.partial(_best(call, backend).function, call))
