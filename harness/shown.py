"""Text of others made safe to show: what would steer a terminal, or that it cannot draw, is shown escaped."""

from __future__ import annotations

import codecs
import io
import sys
import unicodedata

_PLAIN = "roofcast.plain"
_SPELT = str.maketrans(
    {
        "─": "-",
        "━": "-",
        "│": "|",
        "█": "#",
        "\N{MULTIPLICATION SIGN}": "x",
        "·": ".",
        "…": "...",
        "\N{EN DASH}": "-",
        "—": "-",
        "±": "+-",
        "≤": "<=",
        "≥": ">=",
    }
    | dict.fromkeys("▏▎▍▌", "")
    | dict.fromkeys("▋▊▉", "#")
    | dict(zip("▁▂▃▄▅▆▇", "._-=+*%", strict=True))
)
"""What tables are drawn with, for terminals of ASCII or Latin-1."""


def escaped(text: str, keep: str = "") -> str:
    """A text in which control characters, marks of direction and lone surrogates are written as Python writes them.

    Args:
        keep: those that stay, such as the line ends of a text that may have several lines.
    """
    if text.isprintable():
        return text
    return "".join(one if one in keep or _is_visible(one) else one.encode("unicode_escape").decode() for one in text)


def warn(sentence: str) -> None:
    """Says on standard error, in the name of the command, what its user should know."""
    print(f"roofcast: {escaped(sentence, keep=chr(10))}", file=sys.stderr)


def take_any_text() -> None:
    """Makes standard output and standard error draw what their encoding lacks in plain characters instead of failing."""
    codecs.register_error(_PLAIN, _in_plain)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=_PLAIN)


def _is_visible(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _in_plain(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeEncodeError)
    plain = error.object[error.start : error.end].translate(_SPELT)
    return plain.encode("ascii", "backslashreplace").decode(), error.end
