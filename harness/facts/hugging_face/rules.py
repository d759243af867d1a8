"""Rules: small functions that each read one fact out of a Hugging Face configuration, and ways to combine them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import groupby
from typing import Any

from ...errors import UsageError

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


def whole(*names: str, otherwise: Any = _NEEDED) -> Rule:
    """A `key` that other rules calculate with, so that it must be a whole number."""
    found = key(*names, otherwise=otherwise)

    def rule(config: Config) -> int:
        value = found(config)
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise UsageError(f"config.json {' or '.join(names)} must be an integer from 1; got {value!r}")
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
        value = str(key(name, otherwise=otherwise)(config)).removeprefix("gated-")
        if value not in _ACTIVATIONS:
            raise UsageError(f"config.json {name} must be one of {', '.join(_ACTIVATIONS)}; got {value!r}")
        return _ACTIVATIONS[value]

    return rule


def starts(prefix: str, name: str, otherwise: str) -> Rule:
    """Whether the text of a key starts in some way."""
    return lambda config: str(key(name, otherwise=otherwise)(config)).startswith(prefix)


def windows(size: Rule, is_windowed: Callable[[Config, int], bool]) -> Rule:
    """Sliding-window layers.

    Args:
        size: reads the window, None for none.
        is_windowed: which layers have it, called with the configuration and the layer's index; a configuration
            that lists `layer_types` is believed before it.

    """

    def rule(config: Config) -> dict[str, int] | None:
        width, types = size(config), config.get("layer_types")
        layers = range(whole("num_hidden_layers")(config))
        kinds = [kind != "full_attention" for kind in types] if types else [is_windowed(config, layer) for layer in layers]
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


def all_layers(config: Config, layer: int) -> bool:
    """Every layer is windowed."""
    return True


def all_but_each(period: int, period_key: str | None = None) -> Callable[[Config, int], bool]:
    """Every `period`-th layer is full; a key may name another period."""
    return lambda config, layer: (layer + 1) % ((period_key and config.get(period_key)) or period) != 0


def above_max_window_layers(config: Config, layer: int) -> bool:
    """Qwen's pattern: the lowest `max_window_layers` layers are full."""
    return layer >= (config.get("max_window_layers") or 0)


def dense_layers_below(config: Config) -> int:
    """Qwen's dense layers, which must be the lowest ones for `Model` to describe them."""
    dense = config.get("mlp_only_layers") or []
    if list(dense) != list(range(len(dense))):
        raise UsageError(f"config.json mlp_only_layers must be the lowest layers, counted up from 0; got {dense!r}")
    return len(dense)
