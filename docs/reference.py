"""The reference of configuration keys, made of the schemas and of the comments beside the defaults."""

from __future__ import annotations

import dataclasses
import re
import typing
from collections.abc import Iterable, Mapping
from importlib.resources import files

import yaml
from roofcast import conf
from roofcast.harness.cli import VERBS
from roofcast.harness.cli.exits import typed
from roofcast.harness.config.schemas import SCHEMAS
from roofcast.harness.report.table import Column, Table
from shared import page, table

GROUPS: Mapping[str, str] = {
    "model": "the transformer: a name of the [models](models.md) in any spelling, a Hugging Face `config.json`, or a YAML file",
    "format": "number formats of weights, KV cache and activations: a name of the [formats](formats.md)",
    "format.weight": "format of the weights alone",
    "format.kv": "format of the KV cache alone; where only `format` is given, that of the weights, or bf16",
    "format.activation": "format of what passes between the kernels",
    "kernel": "ops to measure: `all`, `step` (all of them and the whole step), or one folder of `kernels/`",
    "kernel.ops": "a list of ops, such as `[gemv,attention]`; `[step]` is the whole step alone",
    "timing": "how precisely to measure: `default`, `quick` or `thorough`",
    "device": "the machine: a name of the [devices](devices.md) in any spelling, a YAML file, or `here`",
    "experiment": "a file of `conf/experiment/`, which sets several keys at once",
    "only": "what a grid is narrowed to; `model=a,b*` is short for `only.model=[a,b*]`",
    "devices": "how many of the device",
    "seed": "of every random number",
    "targets": "machines to carry the step to, each with how many: `8xH100_SXM`",
    "results": "folder of the store, or a bucket: `s3://bucket/prefix`",
    "output": "also write the tables to this file; the ending decides the form",
    "context": "tokens attended to, the new one included",
    "fused": "norms, gates and residual adds as part of the projections beside them",
    "sampling": "greedy | top_k | top_p",
    "price": "of one device and hour; without one no cost is given",
    "prompt": "tokens of the prompt that the time to the first token is for",
    "imported": "fit to speeds that were imported, too",
    "timing.budget_s": "seconds for all kernels together",
    "timing.max_samples": "samples of a kernel at the most",
}
"""What is said of a group of configuration files, or of a key whose file says nothing beside it."""
_COMMENTED = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*?)(?:#\s*(?P<comment>.*))?$")


def keys() -> str:
    """Every key of every verb: type, default, meaning; from the schemas and the comments beside the defaults."""
    parts = [
        "# Every key of every verb",
        "A key is given as `key=value`. `roofcast VERB --help` prints the same from the same files. Schemas are in "
        "`harness/config/schemas.py`, defaults in `conf/VERB.yaml`.",
    ]
    for verb, schema in SCHEMAS.items():
        parts += [f"## roofcast {typed(verb)}", f"{_sentence(VERBS[verb][1])}", table(_keys_of(verb, schema))]
    return page(parts)


def _keys_of(verb: str, schema: type) -> Table:
    defaults, comments = _described(verb)
    rows = [
        [f"`{name}`", kind, f"`{default}`" if default else "", meaning_of(name, comments)]
        for name, kind, default in _fields(schema, "", defaults)
    ]
    return Table("", [Column(one, text=True) for one in ("key", "takes", "default", "meaning")], rows)


def meaning_of(name: str, comments: Mapping[str, str]) -> str:
    """What a key means, from the comment beside its default, or from `GROUPS`.

    Raises:
        KeyError: if neither says; the build stops, and so does the test.
    """
    text = comments.get(name) or GROUPS[name if name in GROUPS else name.rpartition(".")[2]]
    return text.replace("|", "\\|")


def _fields(schema: type, prefix: str, defaults: Mapping[str, typing.Any]) -> Iterable[tuple[str, str, str]]:
    hints = typing.get_type_hints(schema)
    for one in dataclasses.fields(schema):
        name, kind = f"{prefix}{one.name}", hints[one.name]
        default = defaults.get(one.name)
        if dataclasses.is_dataclass(kind):
            chosen = default if isinstance(default, str) else ""
            yield name, "an entry, or keys" if chosen or name != "only" else "keys", chosen
            inner = _entry(name, default)
            yield from _fields(kind, f"{name}.", inner)  # type: ignore[arg-type]
        else:
            yield name, _kind(kind, one.name), _shown(default, one)


def _entry(group: str, default: typing.Any) -> Mapping[str, typing.Any]:
    """The values behind a group's default entry, where a file has them."""
    if isinstance(default, dict):
        return default
    file = files(conf) / group / f"{default}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _described(verb: str) -> tuple[Mapping[str, typing.Any], Mapping[str, str]]:
    """Defaults of a verb, its groups among them, and the comments beside them."""
    text = (files(conf) / f"{verb}.yaml").read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    chosen = {key: value for one in loaded.pop("defaults") if isinstance(one, dict) for key, value in one.items()}
    comments = _comments(text)
    if "timing" in chosen:
        timing = (files(conf) / "timing" / f"{chosen['timing']}.yaml").read_text(encoding="utf-8")
        comments |= {f"timing.{name}": comment for name, comment in _comments(timing).items()}
    return chosen | loaded, comments


def _comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment on its line."""
    found: dict[str, str] = {}
    outer = ""
    for line in text.splitlines():
        if match := _COMMENTED.match(line):
            outer = outer if match["indent"] else match["key"]
            name = f"{outer}.{match['key']}" if match["indent"] else match["key"]
            if match["comment"]:
                found[name] = match["comment"]
    return found


def _kind(hint: typing.Any, name: str) -> str:
    if name in ("model", "device", "experiment", "format"):
        return "a name or a file"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    if hint in words:
        return words[hint]
    if typing.get_origin(hint) is list:
        return f"list of {_kind(typing.get_args(hint)[0], '')}"
    if typing.get_args(hint):
        return " or ".join(_kind(one, "") for one in typing.get_args(hint))
    return "mapping or null"


def _shown(default: typing.Any, one: dataclasses.Field) -> str:
    if default is None and one.default not in (dataclasses.MISSING, "???", None):
        default = one.default
    return yaml.safe_dump(default, default_flow_style=True, width=10**6).splitlines()[0]


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."
