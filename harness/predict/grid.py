"""Predictions of many models, machines, formats and contexts at once, cell by cell what `predict` would answer."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Int

from ...kernels.model import Model
from ..calibrate.decode import informed
from ..calibrate.published import Published
from ..calibrate.ranges import Range
from ..calibrate.runs import Runs
from ..errors import UsageError
from ..facts.envelope import Envelope
from ..facts.power import rate
from .answer import Ask, check_engine, cost_of, engine_of, true_bits
from .outcome import Outcome, outcome, watts
from .placement import check_machine, check_model, too_large
from .placing import HOW, Fewest, Parallel, fewest, memory_gb


@dataclass(frozen=True)
class Axes:
    """What a grid is made of: every combination of the first four is a cell, in that order.

    Attributes:
        models, devices: shapes and machines.
        formats: of the weights and of the KV cache.
        contexts: tokens attended to, the new one included.
        prompt: tokens that the time to the first token is for.
        engine, parallel, price: as `Ask` has them.
    """

    models: tuple[Model, ...]
    devices: tuple[Envelope, ...]
    formats: tuple[tuple[str, str], ...]
    contexts: tuple[int, ...]
    prompt: int = 1024
    engine: str | None = None
    parallel: Parallel = "auto"
    price: float | None = None

    @property
    def shape(self) -> tuple[int, int, int, int]:
        return len(self.models), len(self.devices), len(self.formats), len(self.contexts)

    def ask(self, device: Envelope) -> Ask:
        """What all cells of a machine have in common."""
        return Ask(self.models[0], device, engine=self.engine, parallel=self.parallel)


@dataclass(frozen=True)
class Grid:
    """The answers.

    Attributes:
        axes: of the grid.
        model, device, format, context: the place of each cell on them.
        placed: on the fewest chips.
        rows: the cells that have figures, in order; the others have a refusal.
        outcome: of those, None where there are none.
    """

    axes: Axes
    model: Int[np.ndarray, "cells"]
    device: Int[np.ndarray, "cells"]
    format: Int[np.ndarray, "cells"]
    context: Int[np.ndarray, "cells"]
    placed: Fewest
    rows: Int[np.ndarray, "held"]
    outcome: Outcome | None
    _refusals: tuple[str, ...]
    _published: Int[np.ndarray, "devices"]

    def __len__(self) -> int:
        return len(self.model)

    @cached_property
    def refusals(self) -> np.ndarray:
        """Why a cell has no figures; empty where it has."""
        found = np.array(self._refusals, dtype=object)[self.device]
        for cell in np.flatnonzero(~self.placed.fits & (found == "")):
            model, device = self.axes.models[self.model[cell]], self.axes.devices[self.device[cell]]
            try:
                check_model(model, self.axes.parallel)
                found[cell] = too_large(model, device, float(self.placed.needed_gb[cell]))
            except UsageError as error:
                found[cell] = str(error)
        return found

    def columns(self) -> Mapping[str, np.ndarray]:
        """Every figure of every cell under the name that `predict` gives it; NaN where there is none."""
        return dict(self._columns())

    def _columns(self) -> Iterator[tuple[str, np.ndarray]]:
        axes, runs = self.axes, self.placed.runs
        yield "model", _texts(model.name for model in axes.models)[self.model]
        yield "device", _texts(device.name for device in axes.devices)[self.device]
        yield "weight_format", _texts(weight for weight, _ in axes.formats)[self.format]
        yield "kv_format", _texts(kv for _, kv in axes.formats)[self.format]
        yield "weight_bits", runs.weight_bits
        yield "kv_bits", runs.kv_bits
        yield "context", np.array(axes.contexts)[self.context]
        limits = np.array([model.max_context for model in axes.models])[self.model]
        yield "beyond_model_context", np.array(axes.contexts)[self.context] > limits
        yield "prompt", np.full(len(self), axes.prompt)
        yield "engine", _texts(engine.name for engine in runs.engines)[runs.engine]
        yield "refusal", self.refusals
        has = np.zeros(len(self), dtype=bool)
        has[self.rows] = True
        yield "devices", np.where(has, runs.chips, 0)
        yield "placement", np.where(has, _texts(HOW)[self.placed.how], "")
        yield "memory_gb", np.where(has, self.placed.needed_gb, np.nan)
        yield "capacity_gb", runs.by_device(lambda device: np.nan if device.capacity_gb is None else device.capacity_gb)
        yield from self._figures()
        yield "published_speeds", self._published[self.device]

    def _figures(self) -> Iterator[tuple[str, np.ndarray]]:
        one = self.outcome
        if one is None:
            return
        yield from self._ends("tokens_per_s", one.tokens_per_s)
        yield "ceiling_tokens_per_s", self._all(1e6 / one.floor_us)
        yield from self._ends("tpot_ms", one.tokens_per_s.under(1e3))
        yield from self._ends("ttft_ms", one.ttft_ms)
        for basis in ("typical", "peak"):
            drawn = watts(one.step.runs, basis)
            yield from self._ends(f"power_{basis}_w", drawn)
            yield from self._ends(f"joules_per_token_{basis}", one.joules_per_token(drawn))
            rates = [rate(device, basis) for device in self.axes.devices]
            yield f"power_{basis}_source", _texts(found.source if found else "" for found in rates)[self.device]
        if self.axes.price is not None:
            yield "price_per_device_hour", np.full(len(self), self.axes.price)
            yield from self._ends("cost_per_million_tokens", one.cost_per_million(self.axes.price))
        yield "bound", self._all(one.bound.astype(object), "")
        yield "basis", self._all(one.basis.astype(object), "")

    def _ends(self, name: str, given: Range) -> Iterator[tuple[str, np.ndarray]]:
        for ending, figures in (("", given.point), ("_low", given.low), ("_high", given.high)):
            yield name + ending, self._all(np.asarray(figures))

    def _all(self, figures: np.ndarray, missing: Any = np.nan) -> np.ndarray:
        whole = np.full(len(self), missing, dtype=figures.dtype)
        whole[self.rows] = figures
        return whole


def grid(axes: Axes, imported: tuple[Published, ...] = ()) -> Grid:
    """Every cell, on the fewest devices that hold it; what cannot be has its reason.

    Args:
        axes: what is asked.
        imported: measured speeds that are evidence beside the project's own.

    Raises:
        UsageError: if a model has no decode step, or an engine is not known.
    """
    model, device, format, context = (axis.ravel() for axis in np.indices(axes.shape))
    alone = _alone(axes, model, device, format, context)
    costs = [[cost_of(one, length) for length in axes.contexts] for one in axes.models]
    activations_gb = np.array([[cost.hot_bytes / 1e9 for cost in row] for row in costs])[model, context]
    flops = np.array([[float(cost.flops) for cost in row] for row in costs])[model, context]
    peaks = np.array([[one.peak_flops(weight) for weight, _ in axes.formats] for one in axes.devices])[device, format]
    placed = fewest(alone, activations_gb, axes.parallel)
    refusals = tuple(_refusal(axes, one) for one in axes.devices)
    is_possible = np.array([not why for why in refusals])[device]
    rows = np.flatnonzero(placed.fits & is_possible)
    known, given = informed(imported)
    found = None
    if len(rows):
        runs = placed.runs.rows(rows)
        prompt = np.full(len(rows), float(axes.prompt))
        room_gb = runs.by_device(lambda one: one.capacity_gb or np.nan)
        found = outcome(
            runs,
            prompt=prompt,
            flops=flops[rows],
            peak_flops=peaks[rows],
            link_floor_us=np.zeros(len(rows)),
            has_ttft=memory_gb(runs.opening(prompt), activations_gb[rows]) <= room_gb,
            known=known,
            given=given,
        )
    published = Counter(run.device.name for run in known.runs)
    counts = np.array([published[one.name] for one in axes.devices])
    return Grid(axes, model, device, format, context, placed, rows, found, refusals, counts)


def _alone(axes: Axes, model: np.ndarray, device: np.ndarray, format: np.ndarray, context: np.ndarray) -> Runs:
    engines = tuple(engine_of(axes.ask(one)) for one in axes.devices)
    kv_bits = np.array([[true_bits(kv, (1, one.head_dim)) for _, kv in axes.formats] for one in axes.models])
    zeros, no = np.zeros(len(model)), np.zeros(len(model), dtype=bool)
    return Runs(
        axes.devices,
        engines,
        axes.models,
        device,
        device,
        model,
        chips=np.ones(len(model), dtype=np.int64),
        weight_bits=np.array([true_bits(weight) for weight, _ in axes.formats])[format],
        kv_bits=kv_bits[model, format],
        prompt=np.array(axes.contexts, dtype=float)[context],
        generated=zeros,
        counts_prefill=no,
        size=zeros + 1,
        pipeline=no,
        expert_parallel=no,
        is_guessed=no,
        experts_only=no,
    )


def _refusal(axes: Axes, device: Envelope) -> str:
    """Why a machine has no figures for any cell; empty where it may have."""
    ask = axes.ask(device)
    try:
        check_engine(engine_of(ask), device, axes.engine)
        check_machine(device, None, axes.parallel)
    except UsageError as error:
        return str(error)
    return ""


def _texts(given: Iterator[str] | Sequence[str]) -> np.ndarray:
    return np.array(list(given), dtype=object)
