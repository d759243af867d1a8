"""Files of users as plain data: YAML or JSON by a safe loader, within bounds, with nothing in them that Hydra would act on."""

from __future__ import annotations

import json
import os
import re
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from ..errors import UsageError

SUFFIXES = (".json", ".yaml", ".yml")
"""Of files that are read; anything but JSON is YAML."""

_MOST_BYTES = 4 * 2**20
_MOST_VALUES = 100_000
_MOST_ALIASES = 100
_DEEPEST = 32
"""Bounds of a file. The configurations of the largest quantised models come within a factor of two of the first two."""

_INSTANTIATED = re.compile(r"_(target|args|partial|recursive|convert)_")


def read(path: Path, field: str) -> dict[str, Any]:
    """The mapping that a file holds.

    Args:
        path: of a regular file, in UTF-8.
        field: whose value the path is, for sentences.

    Raises:
        UsageError: if the file cannot be read, is no single mapping, gives a key twice, exceeds a bound, or has what is not
            data: tags, `defaults`, `_target_`, `${`.
    """
    try:
        text = _bytes(path).decode("utf-8-sig")
        found = _from_json(text) if path.suffix.lower() == ".json" else _from_yaml(text)
        if not isinstance(found, dict):
            raise _RefusedError(f"holds {type(found).__name__}")
        _check(found)
    except (_RefusedError, UnicodeDecodeError, OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        accepted = "a readable file of plain data that holds a mapping of fields"
        raise UsageError(f"{field} must name {accepted}; got {str(path)!r}: {_said(error)[:300]}") from None
    return found


class _RefusedError(Exception):
    """What a file has that it may not have."""


def _bytes(path: Path) -> bytes:
    # A FIFO would block, and a device might have no end.
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise _RefusedError("is no regular file")
        found = file.read(_MOST_BYTES + 1) or b""
    if len(found) > _MOST_BYTES:
        raise _RefusedError(f"has more than {_MOST_BYTES:,} bytes")
    return found


def _from_json(text: str) -> Any:
    return json.loads(text, object_pairs_hook=_each_once)


def _each_once(pairs: Sequence[tuple[Any, Any]]) -> dict[Any, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        raise _RefusedError(f"gives the key {next(name for name in names if names.count(name) > 1)!r} twice")
    return found


_Safe: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Safe):
    """Plain values only: a key once, dates as they are written."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        _each_once([(self._named(key), None) for key, _ in node.value])
        super().flatten_mapping(node)
        # What is merged comes first. Merges of merges would otherwise grow without bound.
        node.value = list({self._named(key): (key, value) for key, value in node.value}.values())

    def _named(self, key: yaml.Node) -> Any:
        is_plain = isinstance(key, yaml.ScalarNode) and key.tag != _MERGE
        return self.construct_object(key) if is_plain else f"{key.tag} {key.value}"


_MERGE = "tag:yaml.org,2002:merge"
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:value")]
    for first, known in _Loader.yaml_implicit_resolvers.items()
}


def _from_yaml(text: str) -> Any:
    depth = values = aliases = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            aliases += 1
        elif isinstance(event, yaml.NodeEvent):
            values += 1
            if tag := getattr(event, "tag", None):
                raise _RefusedError(f"has the tag {tag!r} at line {event.start_mark.line + 1}")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        _check_bounds(depth, values)
        if aliases > _MOST_ALIASES:
            raise _RefusedError(f"has more than {_MOST_ALIASES} aliases")
    return yaml.load(text, Loader=_Loader)


def _check_bounds(depth: int, values: int) -> None:
    if depth > _DEEPEST:
        raise _RefusedError(f"is nested more than {_DEEPEST} deep")
    if values > _MOST_VALUES:
        raise _RefusedError(f"has more than {_MOST_VALUES:,} values")


def _check(found: dict[Any, Any]) -> None:
    """Raises _RefusedError for what is not data. Aliases count as often as they are used."""
    if "defaults" in found:
        raise _RefusedError("has defaults, but nothing of it is composed")
    values = 0
    waiting: list[tuple[str, int, Any]] = [("", 1, found)]
    while waiting:
        where, depth, value = waiting.pop()
        values += 1
        _check_bounds(depth, values)
        if isinstance(value, str):
            _check_text(where, value)
        elif isinstance(value, list):
            waiting += ((f"{where}[{place}]", depth + 1, one) for place, one in enumerate(value))
        elif isinstance(value, dict):
            for name, one in value.items():
                _check_text(where or "its keys", str(name))
                if not str(name).isprintable():
                    raise _RefusedError(f"has the key {name!r}, which is no name")
                if _INSTANTIATED.fullmatch(str(name)):
                    raise _RefusedError(f"has {name}{f' in {where}' if where else ''}, but nothing of it is called")
                waiting.append((f"{where}.{name}" if where else str(name), depth + 1, one))


def _check_text(where: str, text: str) -> None:
    if "${" in text:
        raise _RefusedError(f"has ${{ in {where}, but nothing of it is interpolated")
    if text == "???":
        raise _RefusedError(f"has no value for {where}, which is ???")
    if re.search("[\ud800-\udfff]", text):
        raise _RefusedError(f"has half of a surrogate pair in {where}, which no text can hold")


def _said(error: Exception) -> str:
    if isinstance(error, UnicodeDecodeError):
        return f"is not UTF-8 at byte {error.start}"
    if isinstance(error, RecursionError):
        return f"is nested more than {_DEEPEST} deep"
    if isinstance(error, OSError):
        return error.strerror or str(error)
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark is not None:
        return f"{error.problem}, at line {error.problem_mark.line + 1}"
    # Of a number with too many digits Python says how to allow them, too.
    return " ".join(str(error).partition("; use sys.")[0].split())
