"""Machines from the files under `conf/device/`: one file each, one source per figure.

A file's fields are those of `Envelope`, `Memory` and `Quantity`; peaks also say `dense: true`, because vendors quote 2:4
sparse figures twice as large. A figure's date is its source's own where the source names one, else 2026-11, when the
figures were collected. Where a machine's sources were not told apart figure by figure, all of them are named. `datasheet`
means the vendor's specification as the named source gives it.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from typing import Any

from ..errors import UsageError
from .catalogue import check_aliases, resolve
from .catalogue import facts as facts_of
from .envelope import Envelope, Memory, Quantity

HERE = "here"
"""The device by whose name this machine is asked for."""

_MOST_MEMORIES = 16
_QUANTITY = [one.name for one in fields(Quantity)]
_QUANTITY_REQUIRED = [one.name for one in fields(Quantity) if one.default is MISSING]
_MEMORY = [one.name for one in fields(Memory) if one.name != "name"]
_ENVELOPE = [one.name for one in fields(Envelope)]
_ENVELOPE_QUANTITIES = [one.name for one in fields(Envelope) if one.type == "Quantity | None"]

_COUNTED = re.compile(r"([^a-z\u00d7]+)[x\u00d7](.*)", re.IGNORECASE | re.DOTALL)


def is_here(device: Any) -> bool:
    """Whether a configuration's device is this machine."""
    return device is not None and device.get("name") == HERE


def device_named(name: str) -> Envelope:
    """The machine that a person's spelling means.

    Raises:
        UsageError: if no file or alias under `conf/device/` has that name, or the file is wrong.

    """
    found = resolve("device", name)
    return device_from(facts_of("device", found), found)


def target(text: str) -> tuple[Envelope, int]:
    """A machine and how many of it: `H100_SXM`, `8xH100_SXM` and `8x h100` all do.

    Raises:
        UsageError: if the count is not a whole number from 1, or there is no such machine.

    """
    counted = _COUNTED.fullmatch(text)
    if not counted:
        return device_named(text), 1
    count, name = (part.strip() for part in counted.groups())
    if not re.fullmatch(r"0*[1-9][0-9]{0,5}", count):
        raise UsageError(
            f"device count must be a whole number from 1 to 999999, as in 8xH100_SXM; got {count[:20]!r} in {text[:40]!r}"
        )
    return device_named(name), int(count)


def device_from(facts: Mapping[str, Any], name: str) -> Envelope:
    """The machine that a file describes.

    Raises:
        UsageError: if a field is unknown, missing or out of range; names the device, the field, the value and what
            would be accepted.

    """
    where = f"device {name}"
    _check_fields(facts, where, (*_ENVELOPE, "aliases"), ("name", "kind", "memories", "weights_in"))
    for field in ("name", "kind", "weights_in", "platform", "architecture", "note"):
        if not isinstance(facts.get(field, ""), str):
            raise UsageError(f"{where}: {field} must be a text; got {facts[field]!r}")
    check_aliases(facts, f"{where}: aliases")
    if name == HERE:
        raise UsageError(f"{where}: name must not be {HERE}, which is this machine's")
    if facts["name"] != name:
        raise UsageError(f"{where}: name must be that of the file; got {facts['name']!r}")
    memories = _mapping(facts["memories"], f"{where}: memories")
    peaks = _mapping(facts.get("peak_tflops", {}), f"{where}: peak_tflops")
    if len(memories) > _MOST_MEMORIES:
        raise UsageError(f"{where}: memories must be at most {_MOST_MEMORIES}; got {len(memories)}")
    return Envelope(
        name=name,
        kind=facts["kind"],
        memories=tuple(_memory(tier, given, f"{where}: memories.{tier}") for tier, given in memories.items()),
        weights_in=facts["weights_in"],
        peak_tflops={format: _peak(given, f"{where}: peak_tflops.{format}") for format, given in peaks.items()},
        platform=facts.get("platform", ""),
        architecture=facts.get("architecture", ""),
        note=facts.get("note", ""),
        **{field: _quantity(facts[field], f"{where}: {field}") for field in _ENVELOPE_QUANTITIES if field in facts},
    )


def _memory(name: str, given: Any, where: str) -> Memory:
    _check_fields(given, where, _MEMORY, ("bandwidth_gbs",))
    return Memory(name, **{field: _quantity(value, f"{where}.{field}") for field, value in given.items()})


def _peak(given: Any, where: str) -> Quantity:
    _check_fields(given, where, (*_QUANTITY, "dense"), (*_QUANTITY_REQUIRED, "dense"))
    if given["dense"] is not True:
        raise UsageError(f"{where}: dense must be true, for a peak is never a 2:4 sparse figure; got {given['dense']!r}")
    return _quantity({field: value for field, value in given.items() if field != "dense"}, where)


def _quantity(given: Any, where: str) -> Quantity:
    if isinstance(given, int | float):
        example = f'{{value: {given}, basis: datasheet, source: "the product page", date: 2026-11}}'
        raise UsageError(f"{where} must say what it rests on, as in {example}; got {given!r}")
    _check_fields(given, where, _QUANTITY, _QUANTITY_REQUIRED)
    try:
        return Quantity(**given | {"date": str(given["date"])})  # YAML reads a full date as a date, not as text
    except UsageError as error:
        raise UsageError(f"{where}: {error}") from None


def _check_fields(given: Any, where: str, accepted: Iterable[str], required: Iterable[str]) -> None:
    for field in _mapping(given, where):
        if field not in accepted:
            near = difflib.get_close_matches(str(field), accepted, n=1)
            hint = f"did you mean {near[0]}?" if near else f"accepted: {', '.join(accepted)}"
            raise UsageError(f"{where}: there is no field {field!r}; {hint}")
    for field in required:
        if field not in given:
            raise UsageError(f"{where}: {field} must be given; got only {', '.join(map(str, given)) or 'nothing'}")


def _mapping(given: Any, where: str) -> Mapping[Any, Any]:
    if not isinstance(given, Mapping):
        raise UsageError(f"{where} must be a mapping of fields to values; got {given!r}")
    for field in given:
        if not isinstance(field, str) or not re.fullmatch(r"[\w-]{1,40}", field):
            raise UsageError(f"{where}: names of fields must be of letters, digits, _ and -, 40 at the most; got {field!r}")
    return given
