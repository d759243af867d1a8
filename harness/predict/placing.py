"""Where many models go, all at once: memory of the fullest chip, and the fewest chips that hold a model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from jaxtyping import Bool, Float, Int

from ...kernels.model import Model
from ..calibrate.routing import dealings
from ..calibrate.runs import Runs
from ..facts.envelope import Envelope

Parallel = Literal["auto", "tp", "ep", "pp"]
PARALLEL: tuple[Parallel, ...] = get_args(Parallel)

How = Literal["one chip", "tensor parallel", "expert parallel", "pipeline", "static pipeline", "streamed weights"]
HOW: tuple[How, ...] = get_args(How)

MOST_CHIPS = 100_000
"""Where the search for a number of chips ends: an LPU holds a quarter of a gigabyte."""


@dataclass(frozen=True)
class Fewest:
    """The cheapest feasible placements.

    Attributes:
        runs: on their chips; on one where they fit nowhere.
        how: a place in `HOW`.
        needed_gb: memory of the fullest chip.
        fits: whether there is any such number of chips.
    """

    runs: Runs
    how: Int[np.ndarray, "runs"]
    needed_gb: Float[np.ndarray, "runs"]
    fits: Bool[np.ndarray, "runs"]


def memory_gb(runs: Runs, activations_gb: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
    """Memory of the fullest chip: its weights, whole layers of them in a pipeline, and what `cache_gb` gives.

    Expert parallel, each chip has its share of the routed experts and the whole of everything else.
    """
    replicated = np.where(runs.expert_parallel, runs.resident_gb - runs.resident_experts_gb, 0.0)
    shared = runs.resident_gb - replicated
    return replicated + shared * _layers_share(runs) + cache_gb(runs, activations_gb)


def cache_gb(runs: Runs, activations_gb: Float[np.ndarray, "runs"]) -> Float[np.ndarray, "runs"]:
    """KV cache and activations of the fullest chip: whole heads where tensor parallel, whole layers in a pipeline.

    Expert parallel, one chip has the whole cache of a request, for attention is not split.
    """
    share = np.where(runs.pipeline, _layers_share(runs), 1 / runs.kv_streams)
    return np.where(_is_lpu(runs), (runs.kv_gb + activations_gb) / runs.chips, runs.kv_gb * share + activations_gb)


def fewest(alone: Runs, activations_gb: Float[np.ndarray, "runs"], parallel: Parallel) -> Fewest:
    """The fewest chips that hold each run; a way to split it that comes second is taken where the first has no number.

    Expert parallelism, which comes after tensor parallelism, is also taken where it needs fewer chips than that.

    Args:
        alone: the runs on one chip each. Machines whose memory is of unknown size hold nothing.
        activations_gb: at most alive at a time.
        parallel: a way that is forced.
    """
    ones = np.ones(len(alone), dtype=np.int64)
    chips, how, fits = ones.copy(), ones * 0, np.zeros(len(alone), dtype=bool)
    is_lpu, is_wafer = _is_lpu(alone), alone.by_device(lambda device: device.kind == "wafer")
    for way, may in (
        ("static pipeline", is_lpu),
        ("tensor parallel", ~is_lpu & ~is_wafer & (parallel in ("auto", "tp"))),
        ("expert parallel", ~is_lpu & ~is_wafer & (parallel in ("auto", "ep"))),
        ("pipeline", ~is_lpu & (is_wafer | (parallel in ("auto", "pp")))),
    ):
        rows = np.flatnonzero(may & (~fits | ((way == "expert parallel") & (chips > 1))))
        if len(rows):
            found = _SEARCHES[way](alone.rows(rows), activations_gb[rows])
            is_taken = (found > 0) & (~fits[rows] | (found < chips[rows]))
            held, rows = found[is_taken], rows[is_taken]
            chips[rows], fits[rows] = held, True
            how[rows] = np.where(held > 1, HOW.index(way), HOW.index("one chip"))
    runs = alone.on(chips, how == HOW.index("pipeline"), how == HOW.index("expert parallel"))
    return Fewest(runs, how, memory_gb(runs, activations_gb), fits)


def is_alone(device: Envelope) -> bool:
    """Whether nothing is known to join several of the machine."""
    return device.kind in ("cpu", "soc") and device.link_gbs is None


def splits(model: Model, chips: int) -> bool:
    """Whether whole heads can go to so many chips."""
    return model.heads % chips == 0 and (model.kv_heads % chips == 0 or chips % model.kv_heads == 0)


def _split(alone: Runs, activations_gb: Float[np.ndarray, "runs"]) -> Int[np.ndarray, "runs"]:
    """Fewest chips for tensor parallelism; 0 for none."""
    counts = [[n for n in range(1, model.heads + 1) if splits(model, n)] for model in alone.models]
    return _first(alone, activations_gb, counts, "tensor parallel")


def _deal(alone: Runs, activations_gb: Float[np.ndarray, "runs"]) -> Int[np.ndarray, "runs"]:
    """Fewest chips for expert parallelism; 0 for none."""
    counts = [dealings(model.mixture) if model.mixture else () for model in alone.models]
    return _first(alone, activations_gb, counts, "expert parallel")


def _first(
    alone: Runs, activations_gb: Float[np.ndarray, "runs"], counts: Sequence[Sequence[int]], way: How
) -> Int[np.ndarray, "runs"]:
    """The first of a model's numbers of chips that holds it; 0 for none."""
    most = max(map(len, counts))
    table = np.array([[*few, *[0] * (most - len(few))] for few in counts])
    found = np.zeros(len(alone), dtype=np.int64)
    for step in range(most):
        tried = table[alone.model, step]
        rows = np.flatnonzero((found == 0) & (tried > 0) & ((tried == 1) | ~_is_alone(alone)))
        found[rows] = np.where(_holds(alone.rows(rows), activations_gb[rows], tried[rows], way), tried[rows], 0)
    return found


def _lay(alone: Runs, activations_gb: Float[np.ndarray, "runs"]) -> Int[np.ndarray, "runs"]:
    """Fewest chips for a pipeline of whole layers; 0 for none."""
    room = (_capacity_gb(alone) - activations_gb) * alone.layers / (alone.resident_gb + alone.kv_gb)
    found = np.zeros(len(alone), dtype=np.int64)
    # Rounding may be off by a layer: the formula that decides whether a number fits has the last word.
    for layers in (1, 0, -1):
        each = np.clip(np.nan_to_num(np.floor(room)) + layers, 0, alone.layers).astype(np.int64)
        tried = -(-alone.layers // np.maximum(each, 1))
        rows = np.flatnonzero((found == 0) & (each > 0) & ((tried == 1) | ~_is_alone(alone)))
        found[rows] = np.where(_holds(alone.rows(rows), activations_gb[rows], tried[rows], "pipeline"), tried[rows], 0)
    return found


def _spread(alone: Runs, activations_gb: Float[np.ndarray, "runs"]) -> Int[np.ndarray, "runs"]:
    """Fewest chips that together hold it; 0 for none."""
    least = np.ceil((alone.resident_gb + alone.kv_gb + activations_gb) / _capacity_gb(alone))
    found = np.zeros(len(alone), dtype=np.int64)
    for more in (-1, 0, 1):
        tried = np.clip(np.nan_to_num(least) + more, 1, MOST_CHIPS).astype(np.int64)
        rows = np.flatnonzero(found == 0)
        found[rows] = np.where(_holds(alone.rows(rows), activations_gb[rows], tried[rows], "static pipeline"), tried[rows], 0)
    return found


_SEARCHES = {"static pipeline": _spread, "tensor parallel": _split, "expert parallel": _deal, "pipeline": _lay}


def _holds(runs: Runs, activations_gb: Float[np.ndarray, "runs"], chips: np.ndarray, way: How) -> np.ndarray:
    if not len(runs):
        return np.zeros(0, dtype=bool)
    is_pipeline, is_expert_parallel = (np.full(len(runs), way == one) for one in ("pipeline", "expert parallel"))
    return memory_gb(runs.on(chips, is_pipeline, is_expert_parallel), activations_gb) <= _capacity_gb(runs)


def _layers_share(runs: Runs) -> Float[np.ndarray, "runs"]:
    return np.where(runs.pipeline, np.ceil(runs.layers / runs.chips) / runs.layers, 1 / runs.chips)


def _capacity_gb(runs: Runs) -> Float[np.ndarray, "runs"]:
    return runs.by_device(lambda device: math.nan if device.capacity_gb is None else device.capacity_gb)


def _is_alone(runs: Runs) -> Bool[np.ndarray, "runs"]:
    return runs.by_device(is_alone)


def _is_lpu(runs: Runs) -> Bool[np.ndarray, "runs"]:
    return runs.by_device(lambda device: device.kind == "lpu")
