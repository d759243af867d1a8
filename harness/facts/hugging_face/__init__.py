"""Hugging Face `config.json` files, read as the facts of a model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ...errors import UsageError
from ..asked import Asked
from ..data_file import read
from .architectures import ARCHITECTURES, Table
from .rules import Config, apply

__all__ = ["ARCHITECTURES", "model_facts_from_hugging_face", "name_of"]


def model_facts_from_hugging_face(config: Config | str | Path) -> dict[str, Any]:
    """The fields of `kernels.model.Model`, `name` included, of a configuration: a mapping, a file or its folder.

    Raises:
        UsageError: if the file cannot be read, the architecture is not known, or a key is missing or unusable.

    """
    if isinstance(config, Mapping):
        found, name = config, Path(str(config.get("_name_or_path") or config.get("model_type") or "model")).name
    else:
        file = Path(config) / "config.json" if Path(config).is_dir() else Path(config)
        found, name = read(file, "model"), name_of(file)
    nested = found.get("text_config")
    if not isinstance(nested, Mapping | None):
        raise UsageError(f"config.json text_config must be an object; got {nested!r}")
    # A model that also sees or hears keeps the decoder's configuration one level down.
    text = Asked(found if nested is None else nested)
    facts = {field: apply(rule, text) for field, rule in _table(found, text).items()}
    if "window" not in facts and text.get("layer_types") is not None:
        _check_all_full(text["layer_types"])
    text.check_spelling("config.json ")
    return {"name": name} | {field: value for field, value in facts.items() if value is not None}


def name_of(path: Path) -> str:
    """What to call the model of a file, or of the `config.json` in a folder."""
    file = path.absolute()
    return file.parent.name if file.name == "config.json" else file.stem


def _check_all_full(told: Any) -> None:
    if not isinstance(told, list) or any(kind != "full_attention" for kind in told):
        raise UsageError(f"config.json layer_types must be full_attention for each layer of this architecture; got {told!r}")


def _table(config: Config, text: Config) -> Table:
    named = config.get("architectures") or text.get("architectures") or []
    if not isinstance(named, list) or not all(isinstance(name, str) for name in named):
        raise UsageError(f"config.json architectures must be a list of names; got {named!r}")
    for name in named:
        if name in ARCHITECTURES:
            return ARCHITECTURES[name]
    got = ", ".join(named) or "none"
    raise UsageError(f"config.json architectures must name one of {', '.join(sorted(ARCHITECTURES))}; got {got}")
