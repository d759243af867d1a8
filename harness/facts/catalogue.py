"""The facts under `conf/`: models and devices by name or alias, as plain mappings."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

import yaml

from ... import conf
from ..errors import UsageError

_LONGEST = 200
"""Characters of a name. What is nearest to a longer one would take long to find."""
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@cache
def names(group: str) -> tuple[str, ...]:
    """Names of a configuration group's files, in alphabetical order."""
    folder = files(conf) / group
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


@cache
def facts(group: str, name: str) -> Mapping[str, Any]:
    """What the group's file says. The mapping is shared: do not change it."""
    return read_yaml(files(conf) / group / f"{name}.yaml")


def read_yaml(file: Traversable) -> Any:
    """What a packaged YAML file says."""
    return yaml.load(file.read_text(encoding="utf-8"), Loader=_LOADER)


def resolve(group: str, name: str) -> str:
    """The file name that a person's spelling means: case and punctuation do not count, and aliases do.

    Raises:
        UsageError: if nothing in the group has that name; names the nearest ones.
    """
    if len(name) > _LONGEST:
        raise UsageError(f"{group} must be a name of at most {_LONGEST} characters; got {len(name)}, beginning {name[:20]!r}")
    known = _spellings(group)
    key = _plain(name)
    if key in known:
        return known[key]
    near = dict.fromkeys(known[match] for match in difflib.get_close_matches(key, known, n=5, cutoff=0.5))
    hint = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(names(group))}"
    raise UsageError(f"{group} must be a file in conf/{group} or one of their aliases; got {name!r}; {hint}")


def check_aliases(facts: Mapping[str, Any], where: str) -> None:
    """Raises UsageError unless the aliases of a file are a list of texts, or not given."""
    aliases = facts.get("aliases", [])
    if not isinstance(aliases, list) or not all(isinstance(alias, str) for alias in aliases):
        raise UsageError(f"{where} must be a list of texts; got {aliases!r}")


@cache
def _spellings(group: str) -> Mapping[str, str]:
    aliases = {_plain(alias): name for name in names(group) for alias in facts(group, name).get("aliases", ())}
    return aliases | {_plain(name): name for name in names(group)}


def _plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
