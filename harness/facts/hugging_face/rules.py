"""Rules: small functions that each read one fact out of a Hugging Face configuration, and ways to combine them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from ...errors import UsageError
from ..bounds import MOST

Config = Mapping[str, Any]
Rule = Callable[[Config], Any]

_NEEDED = object()


def apply(rule: Any, config: Config) -> Any:
    """What a rule reads, or the constant that stands in a rule's place."""
    return rule(config) if callable(rule) else rule


def key(*names: str, otherwise: Any = _NEEDED) -> Rule:
    """The first of some keys that is there and not null, else a default, which may be a rule."""

    def rule(config: Config) -> Any:
        for name in names:
            if config.get(name) is not None:
                return config[name]
        if otherwise is _NEEDED:
            raise UsageError(
                f"config.json must have the key {' or '.join(names)}; it has {', '.join(map(str, config)) or 'none'}"
            )
        return apply(otherwise, config)

    return rule


def whole(*names: str, otherwise: Any = _NEEDED, most: int | None = None) -> Rule:
    """A `key` that other rules calculate with, so that it must be a whole number."""
    found = key(*names, otherwise=otherwise)

    def rule(config: Config) -> int:
        value = found(config)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"config.json {' or '.join(names)} must be an integer from 1; got {value!r}")
        if most is not None and value > most:
            raise UsageError(f"config.json {' or '.join(names)} must be at most {most}; got {value!r}")
        return value

    return rule


def flag(name: str, otherwise: bool) -> Rule:
    """A `key` that other rules choose by, so that it must be true or false."""

    def rule(config: Config) -> bool:
        value = key(name, otherwise=otherwise)(config)
        if not isinstance(value, bool):
            raise UsageError(f"config.json {name} must be true or false; got {value!r}")
        return value

    return rule


def times(factor: int, rule: Rule) -> Rule:
    """A multiple of what a rule reads."""
    return lambda config: factor * rule(config)


def total(first: Rule, second: Rule) -> Rule:
    """The sum of two rules."""
    return lambda config: first(config) + second(config)


def square(rule: Rule) -> Rule:
    """The square of what a rule reads."""
    return lambda config: rule(config) ** 2


def quotient(dividend: Rule, divisor: Rule) -> Rule:
    """One rule divided by another, rounded down."""
    return lambda config: dividend(config) // divisor(config)


def when(condition: Rule, true: Any, false: Any) -> Rule:
    """One of two rules or constants."""
    return lambda config: apply(true if condition(config) else false, config)


def above(least: int, rule: Rule) -> Rule:
    """Whether a rule reads more than some number."""
    return lambda config: rule(config) > least


def same(name: str, other: str) -> Rule:
    """A key that another one, where it is given, must agree with, because `Model` has no way to say otherwise."""

    def rule(config: Config) -> int:
        value = whole(name)(config)
        if config.get(other) not in (None, value):
            raise UsageError(f"config.json {other} must be {name}, which is {value}; got {config[other]!r}")
        return value

    return rule


def nested(**rules: Any) -> Rule:
    """A mapping of fields, each by its own rule or constant."""
    return lambda config: {field: apply(rule, config) for field, rule in rules.items()}


_ACTIVATIONS = {
    "silu": "silu",
    "swish": "silu",
    "swiglu": "silu",
    "gelu": "gelu",
    "gelu_new": "gelu",
    "gelu_fast": "gelu",
    "gelu_pytorch_tanh": "gelu",
    "relu": "relu",
}


def activation(name: str, otherwise: str) -> Rule:
    """The feed-forward's non-linearity, without the gate that T5 puts into the same key."""

    def rule(config: Config) -> str:
        value = key(name, otherwise=otherwise)(config)
        plain = value.removeprefix("gated-") if isinstance(value, str) else None
        if plain not in _ACTIVATIONS:
            raise UsageError(f"config.json {name} must be one of {', '.join(_ACTIVATIONS)}; got {value!r}")
        return _ACTIVATIONS[plain]

    return rule


def starts(prefix: str, name: str, otherwise: str) -> Rule:
    """Whether the text of a key starts in some way."""
    return lambda config: str(key(name, otherwise=otherwise)(config)).startswith(prefix)


Kinds = Callable[[Config, int], list[bool]]
"""Which of so many layers are windowed."""


def windows(size: Rule, pattern: Kinds, called: str = "sliding_attention") -> Rule:
    """Sliding-window layers.

    Args:
        size: reads the window, None for none.
        pattern: which layers have it; a configuration that lists `layer_types` is believed before it.
        called: what `layer_types` calls a layer that has it.

    """

    def rule(config: Config) -> dict[str, int] | None:
        width, told = size(config), each_layer("layer_types", "full_attention", called)(config)
        kinds = pattern(config, _LAYERS(config)) if told is None else [one == called for one in told]
        if width is None and told is not None and any(kinds):
            raise UsageError(f"config.json layer_types must be full_attention alone where no window is given; got {called}")
        if width is None or not any(kinds):
            return None
        runs = [len(list(run)) for _, run in groupby(kinds)]
        local, full = runs[:2] if len(runs) > 1 else (1, 0)
        if any(windowed != (layer % (local + full) < local) for layer, windowed in enumerate(kinds)):
            raise UsageError(
                "config.json must have windowed layers, then full ones, in a pattern that repeats from the first layer; "
                f"got runs of {', '.join(map(str, runs))} layers, the first of them {'windowed' if kinds[0] else 'full'}"
            )
        return {"size": width, "local": local, "full": full}

    return rule


_LAYERS = whole("num_hidden_layers", most=MOST["layers"])


def each_layer(name: str, *accepted: Any) -> Rule:
    """A key that says something of each layer, None where it is not given."""

    def rule(config: Config) -> list[Any] | None:
        told, layers = config.get(name), _LAYERS(config)
        if told is None:
            return None
        one_each = f"config.json {name} must be a list of {layers} entries, one a layer, each {' or '.join(map(str, accepted))}"
        if not isinstance(told, list):
            raise UsageError(f"{one_each}; got {told!r}")
        if len(told) != layers:
            raise UsageError(f"{one_each}; got {len(told)} entries")
        for layer, one in enumerate(told):
            if type(one) is not type(accepted[0]) or one not in accepted:
                raise UsageError(f"{one_each}; got {one!r} for layer {layer}")
        return told

    return rule


def all_layers(config: Config, layers: int) -> list[bool]:
    """Every layer is windowed."""
    return [True] * layers


def all_but_each(period: int, period_key: str | None = None) -> Kinds:
    """Every `period`-th layer is full; a key may name another period."""

    def pattern(config: Config, layers: int) -> list[bool]:
        every = whole(period_key, otherwise=period)(config) if period_key else period
        return [layer % every != 0 for layer in range(1, layers + 1)]

    return pattern


def listed(name: str, otherwise: Kinds) -> Kinds:
    """Layers for which a list has 1; an empty one is none."""

    def pattern(config: Config, layers: int) -> list[bool]:
        if config.get(name) in (None, []):
            return otherwise(config, layers)
        return [one == 1 for one in each_layer(name, 0, 1)(config)]

    return pattern


def above_max_window_layers(config: Config, layers: int) -> list[bool]:
    """Qwen's pattern: the lowest `max_window_layers` layers are full."""
    lowest = key("max_window_layers", otherwise=0)(config)
    if not isinstance(lowest, int) or isinstance(lowest, bool) or lowest < 0:
        raise UsageError(f"config.json max_window_layers must be an integer from 0; got {lowest!r}")
    return [layer >= lowest for layer in range(layers)]


def each_step(name: str, step: Rule) -> Rule:
    """A step from layer to layer of one kind, which a key that lists those layers must agree with."""

    def rule(config: Config) -> int:
        every, told = step(config), config.get(name)
        if told is not None and told != list(range(every - 1, _LAYERS(config), every)):
            raise UsageError(
                f"config.json {name} must be each layer whose number {every} divides, from {every - 1}; got {told!r}"
            )
        return every

    return rule


def dense_layers_below(config: Config) -> int:
    """Qwen's dense layers, which must be the lowest ones for `Model` to describe them."""
    dense = config.get("mlp_only_layers") or []
    if not isinstance(dense, list) or dense != list(range(len(dense))):
        raise UsageError(f"config.json mlp_only_layers must be the lowest layers, counted up from 0; got {dense!r}")
    return len(dense)
