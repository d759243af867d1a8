"""What there is: every op, and every implementation of it. An op is a folder, so that adding one edits nothing here."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from .formats import format_named
from .op import Implementation, Workload

_SHARED_FOLDERS = {"formats", "ffi", "libraries"}


@cache
def op_names() -> tuple[str, ...]:
    """Every op: the folders beside this file, in alphabetical order."""
    package = importlib.import_module(__package__ or "")
    return tuple(sorted(m.name for m in pkgutil.iter_modules(package.__path__) if m.ispkg and m.name not in _SHARED_FOLDERS))


@cache
def op_named(name: str) -> type[Workload]:
    """The workload class of an op.

    Raises:
        KeyError: if there is no such op.

    """
    if name not in op_names():
        raise KeyError(f"op must be one of {', '.join(op_names())}; got {name!r}")
    package = importlib.import_module(f".{name}", __package__)
    return next(
        value
        for value in vars(package).values()
        if isinstance(value, type) and issubclass(value, Workload) and value is not Workload
    )


@cache
def implementations(op: str) -> tuple[Implementation, ...]:
    """Every implementation in an op's folder, best first. Imports JAX."""
    package = importlib.import_module(f".{op}", __package__)
    modules = (importlib.import_module(f".{m.name}", package.__name__) for m in pkgutil.iter_modules(package.__path__))
    found = {value.name: value for module in modules for value in vars(module).values() if isinstance(value, Implementation)}
    return tuple(sorted(found.values(), key=lambda one: (-one.priority, one.name)))


def supported(workload: Workload, backend: str, *, peers: bool = False) -> Iterator[tuple[Implementation, str | None]]:
    """The op's implementations for a backend, best first, each with its reason to refuse this workload or None.

    With `peers`, other libraries' instead of ours.
    """
    impossible = unstorable(workload)
    for one in implementations(workload.op):
        if backend in one.backends and one.is_peer == peers:
            yield one, impossible or one.missing() or one.refuses(workload)


def unstorable(workload: Workload) -> str | None:
    """Why an operand or result cannot be stored in its format, or None."""
    reasons = (
        (name, format_named(t.format).refuses(t.shape)) for name, t in (workload.operands() | workload.results()).items()
    )
    return next((f"{name}: {reason}" for name, reason in reasons if reason), None)


def workload_from(op: str, axes: Mapping[str, Any]) -> Workload:
    """The workload that `Workload.axes` described."""
    return op_named(op)(**axes)
