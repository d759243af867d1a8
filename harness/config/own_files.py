"""Models and machines out of files of the user's own, checked in full before Hydra is given them as entries of its groups."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

from ..errors import UsageError
from ..facts import catalogue
from ..facts.data_file import SUFFIXES, read
from ..facts.devices import device_from
from ..facts.hugging_face import model_facts_from_hugging_face, name_of
from ..facts.model_zoo import model_facts_from_model_zoo, section_of
from ..facts.models import model_from
from .quoting import literal

_LONGEST_NAME, _LONGEST = 200, 1000
"""Characters of a name, and of a sentence on a file, which may hold values of any length."""


def is_file(name: str) -> bool:
    """Whether a name is that of a file, there or not."""
    return name.lower().endswith(SUFFIXES)


def entry(group: str, path: Path) -> str:
    """The name by which Hydra finds what a file describes.

    Raises:
        UsageError: if the file cannot be read, or describes no model or machine.
    """
    given = read(path, group)
    # Hydra looks entries up by name: one with a slash or a dot would be a path.
    title = re.sub(r"[^A-Za-z0-9_-]", "-", f"{path.parent.name}-{path.stem}" if path.stem == "config" else path.stem)
    try:
        facts = {"name": title} | (given if group == "device" else _model_facts(given, path))
        _check(group, facts)
    except UsageError as error:
        said = str(error)
        raise UsageError(f"{said[:_LONGEST]}{'...' if len(said) > _LONGEST else ''}; in {str(path)!r}") from None
    return _registered(group, title, OmegaConf.create(facts))


def _model_facts(given: dict[str, Any], path: Path) -> dict[str, Any]:
    if zoo := section_of(given):
        return model_facts_from_model_zoo(*zoo) | {"source": f"{path.name}, a configuration of Cerebras Model Zoo"}
    # Every file of ours says of which family its model is, and none of theirs does.
    if path.suffix.lower() == ".json" and "family" not in given:
        return model_facts_from_hugging_face(given) | {"name": name_of(path)}
    return given


def _check(group: str, facts: Mapping[str, Any]) -> None:
    name = facts["name"]
    if not isinstance(name, str) or not 0 < len(name) <= _LONGEST_NAME:
        raise UsageError(f"{group} name must be a text of 1 to {_LONGEST_NAME} characters; got {name!r}")
    (device_from if group == "device" else model_from)(facts, name)


def _registered(group: str, name: str, node: DictConfig) -> str:
    """The name that an entry is found by: its own, lengthened where that is a word of the grammar's or of another entry."""
    store = ConfigStore.instance()
    others = store.repo.get(group, {})
    # Hydra would take the packaged entry without a word.
    while (
        literal(name) != name
        or name in catalogue.names(group)
        or (f"{name}.yaml" in others and others[f"{name}.yaml"].node != node)
    ):
        name = f"{name}-file" if name[:1].isalpha() else f"file-{name}"
    store.store(group=group, name=name, node=node)
    return name
