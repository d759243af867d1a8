"""The software that ran a published figure: what is known of an engine apart from its speed, which is fitted."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from .. import calibrate
from ..errors import UsageError
from ..facts.catalogue import read_yaml
from ..facts.envelope import Envelope

UNSTATED = "unstated"
VENDOR_ONLY = ("wafer", "lpu", "rdu")
"""Kinds of machines that only software written for them runs on."""
VENDORS_SERVICE = ("lpu", "rdu")
"""Those of them whose published speeds are all of the vendor's own software."""


@dataclass(frozen=True)
class Engine:
    """An inference engine.

    Attributes:
        name: the level of its random effects.
        launches: `eager`, `kernels` or `one`, as `engines.yaml` explains; empty where a graph runs.
        widens_weights: quantised weights are written out at 16 bits and read again.
        narrow_head: the LM head is quantised with the rest.
        gguf: what a mixture's 4-bit floating-point experts leave over is stored as Q8_0.
        early: software from before the vendor had tuned it for the public.
        service: a provider's speed, with neither batch nor placement disclosed.
    """

    name: str
    launches: str = ""
    widens_weights: bool = False
    narrow_head: bool = False
    gguf: bool = False
    early: bool = False
    service: bool = False


def engine_named(text: str, device: Envelope, date: str = "") -> Engine:
    """The engine that a published row names.

    A name that is not known becomes an engine of its own, of which nothing has been fitted; no name at all is one, too.

    Args:
        text: as published, such as `vLLM 0.6.3`.
        device: the machine, for some names mean other software on other machines.
        date: of the source, ISO; some software was rewritten under the same name.
    """
    plain = text.strip().lower()
    if not plain:
        return Engine(UNSTATED)
    found = [
        (bool(entry.get("platform") or entry.get("kind")), len(spelling), -place, entry)
        for place, entry in enumerate(_entries())
        for spelling in entry["spellings"]
        if spelling in plain and _is_meant(entry, device, date)
    ]
    if not found:
        return Engine(plain)
    return _engine(max(found, key=lambda one: one[:3])[3])


def known_engine(text: str, device: Envelope) -> Engine:
    """The engine of a name or spelling that `engines.yaml` has.

    Raises:
        UsageError: if it has none; names the nearest ones.
    """
    named = {entry["name"]: entry for entry in _entries()}
    if entry := named.get(text.strip().lower()):
        return _engine(entry)
    found, names = engine_named(text, device), list(named)
    if found.name not in names:
        near = difflib.get_close_matches(text.strip().lower(), names, n=3, cutoff=0.5)
        raise UsageError(
            f"engine must be one that has been fitted; got {text!r}; "
            + (f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names)}")
        )
    return found


def runs_on(engine: Engine, device: Envelope) -> bool:
    """Whether an engine of `engines.yaml` exists for a machine; one of which nothing is known does."""
    mine = [entry for entry in _entries() if entry["name"] == engine.name]
    return not mine or any(_is_for(entry, device) for entry in mine)


def engines_on(device: Envelope) -> tuple[str, ...]:
    """Names of the engines that exist for a machine."""
    return tuple(dict.fromkeys(entry["name"] for entry in _entries() if _is_for(entry, device)))


def _is_for(entry: Mapping[str, Any], device: Envelope) -> bool:
    if "platform" in entry or "kind" in entry:
        return device.platform == entry.get("platform") or device.kind == entry.get("kind")
    places = entry.get("runs_on")
    if places is None:
        return True
    if device.platform or device.kind in (*VENDOR_ONLY, "cpu"):
        return (device.platform or device.kind) in places
    # A machine of one's own may leave its platform open: whatever does not need a vendor's machine may run there.
    return not set(places) <= set(VENDOR_ONLY)


def _engine(entry: Mapping[str, Any]) -> Engine:
    return Engine(**{key: value for key, value in entry.items() if key in Engine.__dataclass_fields__})


def _is_meant(entry: Mapping[str, Any], device: Envelope, date: str) -> bool:
    if entry.get("platform", device.platform) != device.platform or entry.get("kind", device.kind) != device.kind:
        return False
    return "until" not in entry or (bool(date) and date[:7] < entry["until"])


@cache
def _entries() -> tuple[Mapping[str, Any], ...]:
    return tuple(read_yaml(files(calibrate) / "engines.yaml"))
