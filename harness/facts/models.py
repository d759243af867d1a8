"""Models by name, from a mapping of fields, or from a Hugging Face configuration."""

from __future__ import annotations

import dataclasses
import difflib
import types
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from ...kernels.model import Mixture, Model
from ..errors import UsageError
from . import catalogue
from .bounds import most
from .hugging_face import model_facts_from_hugging_face

__all__ = ["model_facts_from_hugging_face", "model_from", "model_from_hugging_face", "model_named"]

_DOCUMENTATION = ("aliases", "source", "confidence", "published_params_b", "counted", "difference")
_TEXTS = ("source", "confidence", "difference")
_MAY_BE_ZERO = {"d_ff", "scale_dim", "q_lora", "shared_experts", "first_dense_layers", "local", "full"}

_Shape = TypeVar("_Shape")


@cache
def model_named(name: str) -> Model:
    """The model of a file or alias under `conf/model/`, in any spelling.

    Raises:
        UsageError: if no model has that name; names the nearest ones.

    """
    found = catalogue.resolve("model", name)
    return model_from(catalogue.facts("model", found), found)


def model_from(facts: Mapping[str, Any], name: str) -> Model:
    """The model that a mapping describes: the fields of `Model`, and those that document a file in `conf/model/`.

    Raises:
        UsageError: if a field is unknown, missing or out of range; names the field, the value and what is accepted.

    """
    shape = {field: value for field, value in facts.items() if field not in _DOCUMENTATION}
    _check_documentation(facts)
    model = _read(Model, shape | {"name": name}, "model", _DOCUMENTATION)
    for field, problem in _contradictions(model):
        raise UsageError(f"model.{field} {problem}")
    return model


def model_from_hugging_face(config: Mapping[str, Any] | str | Path, name: str | None = None) -> Model:
    """The model that a Hugging Face `config.json` describes, given as a mapping, a file or the file's folder.

    Raises:
        UsageError: if the file cannot be read, the architecture is not known, or a key is missing or out of range.

    """
    facts = model_facts_from_hugging_face(config)
    return model_from(facts, name or facts["name"])


def _check_documentation(facts: Mapping[str, Any]) -> None:
    for field in _TEXTS:
        if not isinstance(facts.get(field, ""), str):
            raise UsageError(f"model.{field} must be a text; got {facts[field]!r}")
    catalogue.check_aliases(facts, "model.aliases")
    counted = facts.get("counted", {})
    if not isinstance(counted, Mapping):
        raise UsageError(f"model.counted must be a mapping of numbers; got {counted!r}")
    for field, number in {"published_params_b": facts.get("published_params_b"), **counted}.items():
        if not isinstance(number, int | float | None) or isinstance(number, bool):
            raise UsageError(f"model.{field} must be a number; got {number!r}")


def _read(kind: type[_Shape], facts: Mapping[str, Any], where: str, documentation: tuple[str, ...] = ()) -> _Shape:
    fields = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    hints = _hints(kind)
    for field in facts:
        if field not in fields:
            accepted = [*fields, *documentation]
            near = difflib.get_close_matches(str(field), accepted, n=1)
            hint = f"did you mean {near[0]}?" if near else f"fields are {', '.join(accepted)}"
            raise UsageError(f"{where}.{field} is not a field; {hint}")
    for field in fields.values():
        if field.name not in facts and field.default is dataclasses.MISSING:
            raise UsageError(f"{where}.{field.name} must be given: {_accepted(hints[field.name], field.name)}")
    return kind(**{field: _value(hints[field], value, f"{where}.{field}") for field, value in facts.items()})


@cache
def _hints(kind: type) -> Mapping[str, Any]:
    return get_type_hints(kind)


def _value(hint: Any, value: Any, where: str) -> Any:
    field = where.rpartition(".")[2]
    if get_origin(hint) is types.UnionType:
        nested = get_args(hint)[0]
        if value is None:
            return None
        if isinstance(value, Mapping):
            return _read(nested, value, where)
    elif get_origin(hint) is Literal:
        if value in get_args(hint):
            return value
    elif hint is bool or hint is str:
        if isinstance(value, hint):
            return value
    elif isinstance(value, (int, float) if hint is float else int) and not isinstance(value, bool):
        least = 0 if hint is float or field in _MAY_BE_ZERO else 1
        if least <= value <= most(field):
            return value
    raise UsageError(f"{where} must be {_accepted(hint, field)}; got {value!r}")


def _accepted(hint: Any, field: str) -> str:
    if get_origin(hint) is types.UnionType:
        nested = dataclasses.fields(get_args(hint)[0])
        return f"a mapping with {', '.join(one.name for one in nested)}, or null"
    if get_origin(hint) is Literal:
        return f"one of {', '.join(get_args(hint))}"
    if hint is int:
        return f"an integer from {0 if field in _MAY_BE_ZERO else 1} to {most(field)}"
    return {bool: "true or false", float: f"a number from 0 to {most(field)}", str: "a text"}[hint]


def _contradictions(model: Model) -> Iterator[tuple[str, str]]:
    """(field, what is wrong with it) of values that are each in range but cannot stand together."""
    if model.heads % model.kv_heads:
        yield "kv_heads", f"must divide heads, which is {model.heads}; got {model.kv_heads}"
    mixture, latent = model.mixture, model.latent
    if mixture is not None and mixture.top_k > mixture.experts:
        yield "mixture.top_k", f"must be at most experts, which is {mixture.experts}; got {mixture.top_k}"
    if mixture is not None and model.mixture_layers < 1:
        accepted = f"leave at least one of the {model.layers} layers a mixture"
        yield (
            "mixture",
            f"must {accepted}; got first_dense_layers {mixture.first_dense_layers}, layer_step {mixture.layer_step}",
        )
    if mixture is not None:
        yield from _routing_contradictions(mixture)
    if not model.d_ff and model.mixture_layers < model.layers:
        yield "d_ff", f"must be an integer from 1 unless every layer is a mixture; got {model.d_ff}"
    if latent is not None and model.head_dim != latent.qk_nope + latent.qk_rope:
        yield (
            "head_dim",
            f"must be latent.qk_nope + latent.qk_rope, which is {latent.qk_nope + latent.qk_rope}; got {model.head_dim}",
        )
    rotated = ("latent.qk_rope", latent.qk_rope) if latent else ("head_dim", model.head_dim)
    if model.position == "rope" and rotated[1] % 2:
        yield rotated[0], f"must be even, for RoPE rotates pairs; got {rotated[1]}"
    if model.window is not None and model.window.local + model.window.full < 1:
        yield "window.local", "must be an integer from 1 where window.full is 0; got 0"


def _routing_contradictions(mixture: Mixture) -> Iterator[tuple[str, str]]:
    if mixture.experts % mixture.groups:
        yield "mixture.groups", f"must divide experts, which is {mixture.experts}; got {mixture.groups}"
    if mixture.top_groups > mixture.groups:
        yield "mixture.top_groups", f"must be at most groups, which is {mixture.groups}; got {mixture.top_groups}"
    available = mixture.top_groups * (mixture.experts // mixture.groups)
    if mixture.groups > 1 and mixture.top_k > available:
        yield "mixture.top_k", f"must be at most {available}, the experts in top_groups groups; got {mixture.top_k}"
