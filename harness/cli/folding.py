"""Help that is no wider than the terminal that it is read on."""

from __future__ import annotations

import contextlib
import io
import re
import shutil
import sys
import textwrap
from collections.abc import Iterator


@contextlib.contextmanager
def folded_to_terminal() -> Iterator[None]:
    """Folds what is printed inside to the width of the terminal; leaves it alone where there is none."""
    if not sys.stdout.isatty():
        yield
        return
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        sys.stdout.write(folded(said.getvalue(), shutil.get_terminal_size().columns))


def folded(text: str, width: int) -> str:
    """Lines no wider than `width` characters, the rest of each below where its last column begins; no word is broken."""
    return "\n".join(_folded(line, width) for line in text.split("\n"))


def _folded(line: str, width: int) -> str:
    if len(line) <= width:
        return line
    columns = re.match(r"\s*\S+(?: \S+)*\s{2,}", line)
    margin = columns.end() if columns else len(line) - len(line.lstrip()) + 2
    if margin > 0.6 * width:
        margin = 4
    return textwrap.fill(
        line,
        width,
        subsequent_indent=" " * margin,
        drop_whitespace=True,
        break_long_words=False,
        break_on_hyphens=False,
    )
