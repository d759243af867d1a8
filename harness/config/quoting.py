"""Paths, revisions and other texts as people have them, quoted where Hydra's grammar would read something else."""

from __future__ import annotations

import re
from functools import cache

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString
from hydra.errors import HydraException

_PLAIN = re.compile(r"(?!(?:null|true|false|nan|inf)$)[a-z_./][\w./-]*", re.ASCII | re.IGNORECASE)
"""What the grammar reads as the very text. Digits first may be a number: `007`, or the commit `1e5`."""


def literal(text: str) -> str:
    """The text as one value of the grammar. References in it stay references."""
    return text if _PLAIN.fullmatch(text) else QuotedString(text=text, quote=Quote.single).with_quotes()


def texts(override: str, is_sweep: bool) -> list[str] | None:
    """The texts on the right of an override: one, or those that a sweep is over where commas stand between them.

    None where it is for Hydra to say: nothing, null, or a sweep by a function such as `glob(*)`.
    """
    right = override.partition("=")[2]
    if right in ("", "null"):
        return None
    if _PLAIN.fullmatch(right):
        return [right]
    read = _read(override)
    if read is None:
        return right.split(",") if is_sweep else [right]
    if isinstance(read._value, QuotedString):
        return [read._value.text]
    if not (is_sweep and read.is_sweep_override()):
        return [right]
    sweep = read.value()
    if not (isinstance(sweep, ChoiceSweep) and sweep.simple_form):
        return None
    return [one.text if isinstance(one, QuotedString) else str(one) for one in sweep.list]


@cache
def _parser() -> OverridesParser:
    return OverridesParser.create()


def _read(override: str) -> Override | None:
    try:
        return _parser().parse_override(override)
    except (HydraException, RecursionError):
        return None
