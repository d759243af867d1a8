"""What generated pages are put together with."""

from __future__ import annotations

from collections.abc import Iterable

from roofcast.harness.report.table import Table, markdown


def table(given: Table) -> str:
    """The cells as Markdown, without the title."""
    return markdown(given).partition("\n\n")[2]


def page(parts: Iterable[str]) -> str:
    """Paragraphs as the text of a page."""
    return "\n\n".join(part.strip() for part in parts) + "\n"
