"""Figures as people read them: three significant digits, the same everywhere."""

from __future__ import annotations

import math


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


def percent(value: float) -> str:
    """A share in whole percent."""
    return f"{value:.0%}"


def span(low: float, high: float) -> str:
    """An interval of shares in percent."""
    return f"{low:.0%}-{high:.0%}" if math.isfinite(high) else f"{low:.0%}-"
