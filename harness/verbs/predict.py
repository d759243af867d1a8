"""`roofcast predict`: the answer for one model and machine, or for every machine. Measures nothing, imports no JAX."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from ...kernels.formats import format_names
from ...kernels.model import Formats
from ..errors import UsageError, chosen
from ..facts.catalogue import names
from ..facts.devices import device_from, device_named, is_here
from ..facts.envelope import Envelope
from ..facts.models import model_from
from ..importing import shelf
from ..predict.answer import Answer, Ask, answers, true_bits
from ..predict.good_engine import GOOD, good_answers
from ..predict.placing import PARALLEL
from ..report.answer import SUFFIXES, tables, write
from ..report.output import checked
from ..report.table import show

_MOST_PRICE = 1e9
"""Of a device and hour in the smallest unit of any currency, and far from where a float overflows."""


def run(config: DictConfig) -> int:
    """Prints the answer. Returns 0.

    Raises:
        UsageError: if the question cannot be understood, or the only machine that is asked about cannot hold the model.
    """
    output = checked(config.output, SUFFIXES)
    found = [_here(config)] if is_here(config.device) else _elsewhere(config)
    if len(found) == 1 and found[0].refusal:
        raise UsageError(found[0].refusal)
    if all(one.refusal for one in found):
        raise UsageError(f"model must fit some machine; {found[0].ask.model.name} fits none of the {len(found)}")
    source = _source(config.model)
    for table in tables(found, source):
        show(table)
    if output:
        write(found, source, output)
    return 0


def _here(config: DictConfig) -> Answer:
    """The answer for this machine, by the fits of its own kernels."""
    # It reads the store, whose imports take longer than the answer for any other machine.
    from ..predict.here import answer_here, machine, records_of

    if config.devices not in (None, 1):
        raise UsageError(f"devices must be 1 on this machine; got {config.devices}")
    if config.engine is not None:
        raise UsageError(f"engine must be null on this machine, whose own kernels were measured; got {config.engine!r}")
    records = records_of(config.results)
    (ask,) = asks(config, [machine(records)])
    return answer_here(ask, _formats(config), records)


def _elsewhere(config: DictConfig) -> list[Answer]:
    answered = good_answers if config.engine == GOOD else answers
    found = answered(asks(config), shelf.rows(Path(config.results)) if config.imported else ())
    if not any(one.basis == "specification" for one in found) or not Path(config.results).is_dir():
        return found
    from ..predict.here import any_kernels, widened

    kernels = any_kernels(config.results)
    return widened(found, _formats(config), kernels) if kernels else found


def _formats(config: DictConfig) -> Formats:
    return Formats(config.format.weight, config.format.kv, config.format.activation)


def asks(config: DictConfig, devices: Sequence[Envelope] = ()) -> list[Ask]:
    """The questions of a composed configuration: one, or one per known machine, or one for each of some machines.

    Raises:
        UsageError: for a value that is out of range; names field, value and what is accepted.
    """
    facts: dict[str, Any] = OmegaConf.to_container(config.model, resolve=True)  # type: ignore[assignment]
    model = model_from(facts, str(facts.get("name", "model")))
    weight = chosen("format.weight", config.format.weight, format_names("weight"))
    kv = chosen("format.kv", config.format.kv, format_names("kv"))
    for name in ("devices", "context", "prompt"):
        if config[name] is not None and config[name] < 1:
            raise UsageError(f"{name} must be a whole number from 1; got {config[name]}")
    chosen("format.activation", config.format.activation, format_names("activation"))
    check_price(config.price)
    chosen("parallel", config.parallel, PARALLEL)
    return [
        Ask(
            model,
            device,
            weight=weight,
            weight_bits=true_bits(weight),
            kv_bits=true_bits(kv, (1, model.head_dim)),
            context=config.context,
            prompt=config.prompt,
            engine=config.engine,
            devices=config.devices,
            parallel=config.parallel,
            price=config.price,
        )
        for device in devices or _devices(config)
    ]


def check_price(price: float | None) -> None:
    """Raises UsageError unless a price per device and hour is none, or one that can be reckoned with."""
    if price is not None and not 0 < price <= _MOST_PRICE:
        raise UsageError(f"price must be a number above 0 and at most {_MOST_PRICE:g}, per device and hour; got {price:g}")


def _devices(config: DictConfig) -> list[Envelope]:
    if config.device is None:
        return [device_named(name) for name in names("device")]
    facts: dict[str, Any] = OmegaConf.to_container(config.device, resolve=True)  # type: ignore[assignment]
    return [device_from(facts, str(facts.get("name", "device")))]


def _source(model: DictConfig) -> str:
    """Where the model's shape comes from, in words."""
    confidence = str(model.get("confidence", ""))
    source = str(model.get("source", "") or "a configuration of your own")
    return f"{source} ({confidence})" if confidence and confidence != "found" else source
