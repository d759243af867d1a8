"""Nested frozen dataclasses as one flat row of named, typed columns, and back. The dataclasses are the only schema."""

from __future__ import annotations

import dataclasses
import math
import operator
import types
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

_SQL = {str: "VARCHAR", int: "BIGINT", float: "DOUBLE", bool: "BOOLEAN"}

T = TypeVar("T")


@dataclass(frozen=True)
class Columns:
    """Base of everything that is stored: every field becomes one column, a field that is itself `Columns` several.

    Values are brought to the declared types when an instance is made, so NumPy arrays and scalars may be passed.
    A field's column is called after the field, or `metadata["column"]`. A field added later must have a default:
    that is what older rows then say.

    Raises:
        ValueError: for a value that is not of the declared type, or is NaN; names the field.
    """

    def __post_init__(self) -> None:
        for one in _fields(type(self)):
            if one.part is None and one.given:
                object.__setattr__(self, one.name, _coerced(one, getattr(self, one.name)))


@dataclass(frozen=True)
class _Field:
    name: str
    column: str
    hint: Any
    optional: bool
    default: Any
    given: bool
    """Passed to the constructor, not computed by it."""
    part: type[Columns] | None


def columns(kind: type[Columns]) -> dict[str, str]:
    """Column -> SQL type, in the order of the fields.

    Raises:
        TypeError: if two fields would share a column.
    """
    found: dict[str, str] = {}
    for one in _fields(kind):
        mine = columns(one.part) if one.part else {one.column: _sql(one.hint)}
        if shared := found.keys() & mine.keys():
            raise TypeError(f"{kind.__name__} has two fields for column {', '.join(sorted(shared))}")
        found |= mine
    return found


def flatten(record: Columns) -> dict[str, Any]:
    """Column -> value; all columns of a part that is absent are None."""
    row: dict[str, Any] = {}
    for one in _fields(type(record)):
        value = getattr(record, one.name)
        if one.part is None:
            row[one.column] = list(value) if isinstance(value, tuple) else value
        else:
            row |= dict.fromkeys(columns(one.part)) if value is None else flatten(value)
    return row


def unflatten(kind: type[T], row: Mapping[str, Any]) -> T:
    """The record that `flatten` took apart. Unknown columns are ignored, absent ones take their field's default.

    Raises:
        ValueError: if a column without a default is missing or null, or a value is not of its field's type.
    """
    values: dict[str, Any] = {}
    for one in _fields(kind):
        if one.part is not None:
            is_absent = one.optional and all(row.get(column) is None for column in _required(one.part))
            values[one.name] = None if is_absent else unflatten(one.part, row)
        elif one.given and row.get(one.column) is not None:
            values[one.name] = row[one.column]
        elif one.given and one.optional:
            values[one.name] = None
        elif one.given and one.default is dataclasses.MISSING:
            raise ValueError(f"{one.column} is missing")
    return kind(**values)


@cache
def _fields(kind: type) -> tuple[_Field, ...]:
    return tuple(_read_fields(kind))


def _read_fields(kind: type) -> Iterator[_Field]:
    hints = get_type_hints(kind)
    for one in dataclasses.fields(kind):
        hint, optional = _without_none(hints[one.name])
        part = hint if isinstance(hint, type) and issubclass(hint, Columns) else None
        default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory
        yield _Field(one.name, one.metadata.get("column", one.name), hint, optional, default, one.init, part)


def _required(kind: type[Columns]) -> Iterator[str]:
    """Columns that are null only where the whole part is absent."""
    for one in _fields(kind):
        if one.part is None and not one.optional:
            yield one.column


def _without_none(hint: Any) -> tuple[Any, bool]:
    if get_origin(hint) in (Union, types.UnionType):
        (inner,) = (arm for arm in get_args(hint) if arm is not type(None))
        return inner, True
    return hint, False


def _sql(hint: Any) -> str:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return "VARCHAR"
    if origin is tuple:
        return f"{_sql(arguments[0])}[]"
    if origin is Mapping:
        return f"MAP({_sql(arguments[0])}, {_sql(arguments[1])})"
    return _SQL[hint]


def _coerced(one: _Field, value: Any) -> Any:
    if value is None and one.optional:
        return None
    try:
        return _as(one.hint, value)
    except (TypeError, ValueError) as error:
        wanted = one.hint.__name__ if isinstance(one.hint, type) else str(one.hint)
        raise ValueError(f"{one.name} must be {wanted}{' or None' if one.optional else ''}; got {value!r} ({error})") from None


def _as(hint: Any, value: Any) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is tuple:
        return tuple(_as(arguments[0], item) for item in value)
    if origin is Mapping:
        return {_as(arguments[0], key): _as(arguments[1], item) for key, item in dict(value).items()}
    if origin is Literal:
        if value not in arguments:
            raise ValueError("not one of them")
        return value
    if hint is float:
        if isinstance(value, str) or math.isnan(number := float(value)):
            raise ValueError("not a number")
        return number
    if hint is int:
        return operator.index(value)
    if hint is bool:
        if value not in (True, False):
            raise ValueError("neither true nor false")
        return bool(value)
    if not isinstance(value, str):
        raise TypeError("not text")
    # The operating system hands over undecodable bytes as lone surrogates, which no file of text can hold.
    return value.encode("utf-8", "replace").decode()
