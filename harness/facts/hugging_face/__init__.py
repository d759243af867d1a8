"""Hugging Face `config.json` files, read as the facts of a model."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from .architectures import ARCHITECTURES, Table
from .rules import Config, apply

__all__ = ["ARCHITECTURES", "model_facts_from_hugging_face"]


def model_facts_from_hugging_face(config: Config | str | Path) -> dict[str, Any]:
    """The fields of `kernels.model.Model`, `name` included, of a configuration: a mapping, a file or its folder.

    Raises:
        UsageError: if the file cannot be read, the architecture is not known, or a key is missing or unusable.

    """
    found = config if isinstance(config, Mapping) else _loaded(Path(config))
    nested = found.get("text_config")
    # A model that also sees or hears keeps the decoder's configuration one level down.
    text = nested if isinstance(nested, Mapping) else found
    facts = {field: apply(rule, text) for field, rule in _table(found, text).items()}
    return {"name": _name_in(config)} | {field: value for field, value in facts.items() if value is not None}


def _name_in(config: Config | str | Path) -> str:
    """What to call the model: its file or folder, or where a mapping says that it was loaded from."""
    if isinstance(config, Mapping):
        return Path(str(config.get("_name_or_path") or config.get("model_type") or "model")).name
    path = Path(config).absolute()
    return path.parent.name if path.name == "config.json" else path.stem


def _loaded(path: Path) -> Config:
    file = path / "config.json" if path.is_dir() else path
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"model must name a readable Hugging Face config.json; got {str(path)!r}: {error}") from None
    if not isinstance(config, Mapping):
        raise UsageError(f"model must name a config.json that holds an object; got {type(config).__name__} in {str(path)!r}")
    return config


def _table(config: Config, text: Config) -> Table:
    named = config.get("architectures") or text.get("architectures") or ()
    for name in named:
        if name in ARCHITECTURES:
            return ARCHITECTURES[name]
    got = ", ".join(map(str, named)) or "none"
    raise UsageError(f"config.json architectures must name one of {', '.join(sorted(ARCHITECTURES))}; got {got}")
