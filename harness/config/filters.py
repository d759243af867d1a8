"""How a grid is asked for: names, globs and commas, as people type them, into lists as Hydra wants them."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import UsageError
from .quoting import literal

KEYS = (
    "grid",
    "model",
    "device",
    "format",
    "format.kv",
    "context",
    "engine",
    "prompt",
    "parallel",
    "price",
    "print",
    "output",
    "imported",
    "results",
)
"""What a grid can be asked for."""

_LISTS = {"model": "only.model", "device": "only.device", "format": "only.format", "context": "only.context"}
_TRUE = ("grid=true", "grid=True", "grid=yes", "grid=on")


def as_filters(overrides: Sequence[str]) -> list[str]:
    """The overrides of `table`, where a grid is asked for with commas and globs as lists for Hydra, else as they are.

    Raises:
        UsageError: for a key that a grid does not take.
    """
    if not any(one in _TRUE for one in overrides):
        return list(overrides)
    found = []
    for one in overrides:
        key, equals, value = one.partition("=")
        if equals and not key.startswith("hydra.") and key not in KEYS:
            raise UsageError(f"{key} is not a key of a grid, which takes {', '.join(KEYS)}; got {one!r}")
        if key in _LISTS and equals:
            names = ",".join(literal(name.strip()) for name in value.strip("[]").split(","))
            found.append(f"{_LISTS[key]}=[{names}]")
        else:
            found.append(f"only.kv={value}" if key == "format.kv" else one)
    return found
