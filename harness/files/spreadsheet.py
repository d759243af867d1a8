"""Cells of a CSV that no spreadsheet takes for a formula: an apostrophe before them, as OWASP advises."""

from __future__ import annotations

from typing import TypeVar

_BEGINNINGS = ("=", "+", "-", "@", "\t", "\r", "\n")

T = TypeVar("T")


def cell(value: T) -> T | str:
    """The value; a text that begins like a formula and is neither a number nor a dash gets an apostrophe before it."""
    if not isinstance(value, str) or not value.startswith(_BEGINNINGS) or value == "-":
        return value
    try:
        float(value)
    except ValueError:
        return f"'{value}"
    return value


def column(name: str) -> str:
    """The SQL expression for a column of texts, each as `cell` has it."""
    begins = f"regexp_matches({name}, '^[-=+@\\t\\r\\n]') AND {name} <> '-'"
    return f"CASE WHEN {begins} AND try_cast({name} AS DOUBLE) IS NULL THEN '''' || {name} ELSE {name} END"
