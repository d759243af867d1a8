"""`roofcast table grid=true`: the calibrated predictions of a whole grid, filtered by names and globs. Imports no JAX."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from ...kernels.formats import format_names
from ..errors import UsageError, chosen
from ..facts import catalogue
from ..facts.devices import HERE, device_named
from ..facts.models import model_named
from ..importing import shelf
from ..predict.good_engine import GOOD
from ..predict.grid import Axes, grid
from ..predict.placing import PARALLEL
from ..report.grid import SUFFIXES, show, write
from ..report.output import checked
from .predict import check_price

_FORMS = ("table", *(suffix.removeprefix(".") for suffix in SUFFIXES))


def run(config: DictConfig) -> int:
    """Prints or writes the grid. Returns 0.

    Raises:
        UsageError: if the question cannot be understood, or no model fits any machine.
    """
    output = checked(config.output, SUFFIXES)
    chosen("print", config.print, _FORMS)
    found = grid(axes(config), shelf.rows(Path(config.results)) if config.imported else ())
    if not len(found.rows):
        raise UsageError(f"model must fit some machine; of {len(found)} cells none does: {found.refusals[0]}")
    if output:
        write(found, output)
        print(f"{len(found):,} rows in {output}, {len(found) - len(found.rows):,} of them refusals")
    if not output or config.print != "table":
        show(found, config.print, sys.stdout)
    return 0


def axes(config: DictConfig) -> Axes:
    """The axes that a configuration asks for.

    Raises:
        UsageError: for a value that is out of range; names field, value and what is accepted.
    """
    only = config.only
    prompt = 1024 if config.prompt is None else config.prompt
    if prompt < 1:
        raise UsageError(f"prompt must be a whole number from 1; got {prompt}")
    check_price(config.price)
    if config.engine == GOOD:
        raise UsageError(f"engine must be one that has been fitted, or null, in a grid; got {GOOD!r}, which predict knows")
    decoders = [name for name in catalogue.names("model") if model_named(name).family != "encoder"]
    weights, kvs = format_names("weight"), format_names("kv")
    kv = only.kv and chosen("format.kv", only.kv, kvs)
    parallel: Any = chosen("parallel", config.parallel, PARALLEL)
    return Axes(
        tuple(model_named(name) for name in _selected("model", only.model, decoders)),
        tuple(device_named(name) for name in _selected("device", only.device, catalogue.names("device"))),
        tuple((one, kv or (one if one in kvs else "bf16")) for one in _formats(only.format, weights)),
        tuple(dict.fromkeys(_context(one) for one in only.context)),
        prompt=prompt,
        engine=config.engine,
        parallel=parallel,
        price=config.price,
    )


def _selected(group: str, wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    """The names that are meant, in any spelling or as globs; all that are known where nothing is."""
    found: dict[str, None] = {}
    for one in wanted or ["*"]:
        if any(sign in one for sign in "*?["):
            matching = [name for name in known if fnmatchcase(name.lower(), one.lower())]
            if not matching:
                raise UsageError(f"{group} must match some of {', '.join(known)}; got {one!r}")
            found |= dict.fromkeys(matching)
        elif (group, one.lower()) == ("device", HERE):
            raise UsageError(
                f"device must be machines of conf/device in a grid; got {one!r}, for which roofcast predict device={HERE} "
                "model=NAME answers, one model at a time"
            )
        else:
            found[catalogue.resolve(group, one)] = None
    return list(found)


def _formats(wanted: Sequence[str], known: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for one in wanted or ["*"]:
        matching = [name for name in known if fnmatchcase(name, one)]
        found |= dict.fromkeys(matching or [chosen("format", one, known)])
    return list(found)


def _context(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= 10**9:
        raise UsageError(f"context must be whole numbers from 1 to 1000000000; got {text!r}")
    return int(text)
