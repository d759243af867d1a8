"""Number formats, one file each: how values are packed, what a weight truly weighs, how far rounding goes.

A new format is one new file in this folder that defines `FORMAT`.
"""

from __future__ import annotations

import importlib
import pkgutil
from functools import cache

from .base import Format, rows

__all__ = ["Format", "format_named", "format_names", "rows"]


@cache
def format_names(role: str | None = None) -> tuple[str, ...]:
    """Names of all formats, or of those that may hold a role: `weight`, `kv` or `activation`."""
    names = sorted(m.name for m in pkgutil.iter_modules(__path__) if m.name != "base")
    return tuple(name for name in names if role is None or role in format_named(name).roles)


@cache
def format_named(name: str) -> Format:
    """The format of a name.

    Raises:
        KeyError: if there is no such format.

    """
    if name not in format_names():
        raise KeyError(f"format must be one of {', '.join(format_names())}; got {name!r}")
    return importlib.import_module(f".{name}", __name__).FORMAT
