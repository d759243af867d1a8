"""Figures as people read them: three significant digits, the same everywhere."""

from __future__ import annotations

import math

_BINARY = ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"))


def figure(value: float | None, digits: int = 3) -> str:
    """A number with so many significant digits and no exponent below a million; a dash where there is none."""
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "inf" if value > 0 else "-inf"
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def counted(number: int, what: str) -> str:
    """So many of something: `1 configuration`, `2 configurations`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def percent(value: float | None) -> str:
    """A share in whole percent; a dash where there is none."""
    return "-" if value is None else f"{value:.0%}"


def span(low: float | None, high: float | None) -> str:
    """An interval of shares in percent; a dash where there is none."""
    if low is None or high is None:
        return "-"
    return f"{low:.0%}-{high:.0%}" if math.isfinite(high) else f"{low:.0%}-"


def binary(size: float) -> str:
    """Bytes in the units in which caches are sold: `48 KiB`, `1.5 MiB`."""
    unit, name = next((one for one in _BINARY if size >= one[0]), _BINARY[-1])
    return f"{round(size / unit, 1):g} {name}"
