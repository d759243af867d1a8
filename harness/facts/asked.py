"""A mapping that remembers what it was asked for, so that a key that nobody knows is not taken for one left out."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UsageError

_ALIKE = 0.9
"""Likeness from which one key is taken for another misspelt: one letter in ten, or upper case."""


class Asked(Mapping[str, Any]):
    """A mapping of fields, of which those that were asked for are known."""

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = given
        self._asked: set[str] = set()

    def __getitem__(self, key: str) -> Any:
        self._asked.add(key)
        return self._given[key]

    def __iter__(self) -> Iterator[str]:
        return iter(self._given)

    def __len__(self) -> int:
        return len(self._given)

    def check_spelling(self, where: str) -> None:
        """Raises UsageError for a key that nobody asked for and that is nearly one that was not there."""
        lacking = self._asked - set(self._given)
        for key in map(str, self._given):
            if key not in self._asked and (near := difflib.get_close_matches(key.lower(), lacking, n=1, cutoff=_ALIKE)):
                raise UsageError(f"{where}{key} is not a key; did you mean {near[0]}?")
