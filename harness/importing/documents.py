"""A file as the objects in it, each with its place: JSON, JSON lines, or a printed report. What cannot be parsed is named."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from . import pytest_benchmark, trtllm
from .fields import Document


@dataclass(frozen=True)
class Entry:
    """One object of a file.

    Attributes:
        place: such as `line 3` or `entry 2`; empty where it is the whole file.
        document: the object; None where there is none.
        problem: why.
    """

    place: str
    document: Document | None = None
    problem: str = ""


def entries(content: str) -> list[Entry]:
    """The objects of a file's text, in order; of a file that is none, one entry that says so."""
    text = content.lstrip("\ufeff").strip()
    if report := trtllm.printed(text):
        return [Entry("", report)]
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError) as error:
        is_array = text.startswith("[")
        found = list(_array(text) if is_array else _lines(text))
        # Where not one object could be parsed, the file is not in a form that is known.
        return (
            found
            if any(one.document for one in found)
            else [Entry("", problem=f"the file is neither JSON nor a printed report: {error}")]
        )
    if benchmarks := list(pytest_benchmark.benchmarks(whole)):
        return [Entry(place, one) for place, one in benchmarks]
    if isinstance(whole, list):
        return [_entry(f"entry {number}", one) for number, one in enumerate(whole, 1)]
    return [_entry("", whole)]


def _lines(text: str) -> Iterator[Entry]:
    for number, line in enumerate(text.splitlines(), 1):
        if line.strip():
            try:
                yield _entry(f"line {number}", json.loads(line))
            except (ValueError, RecursionError) as error:
                yield Entry(f"line {number}", problem=f"is not JSON: {error}")


def _array(text: str) -> Iterator[Entry]:
    """The elements of an array up to where it breaks off, as it does where a tool was stopped."""
    decoder, place, number = json.JSONDecoder(), 1, 0
    while place < len(text):
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
        if text[place : place + 1] in ("", "]"):
            break
        number += 1
        try:
            one, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            yield Entry(f"entry {number}", problem=f"breaks off: line {text.count(chr(10), 0, place) + 1} is not JSON")
            return
        yield _entry(f"entry {number}", one)


def _entry(place: str, value: Any) -> Entry:
    return Entry(place, value) if isinstance(value, Mapping) else Entry(place, problem=f"must be an object; got {value!r}")
