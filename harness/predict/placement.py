"""Where a model goes: on one chip, over the fewest that hold it, or streamed in over the external link token after token."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float

from ...kernels.model import Model
from ..calibrate.routing import dealings
from ..calibrate.runs import Runs
from ..calibrate.situation import Situation
from ..errors import UsageError
from ..facts.envelope import Envelope
from . import placing
from .placing import HOW, MOST_CHIPS, Fewest, How, Parallel, fewest, is_alone, splits


@dataclass(frozen=True)
class Placement:
    """A run on so many chips that it fits, or what of it must be streamed.

    Attributes:
        run: the situation, with its chips.
        how: what the chips do with it.
        needed_gb: memory of the fullest chip, of what stays there.
        capacity_gb: memory of one chip.
        streamed_bytes: weights that each token brings in over the external link; 0 where all are resident.
        link_gbs: of all chips together, one direction.
    """

    run: Situation
    how: How
    needed_gb: float
    capacity_gb: float
    streamed_bytes: float = 0.0
    link_gbs: float = math.inf

    @property
    def link_floor_us(self) -> float:
        """Least time of a token over the link."""
        return self.streamed_bytes / self.link_gbs / 1e3


def place(alone: Situation, activations_gb: float, devices: int | None = None, parallel: Parallel = "auto") -> Placement:
    """The cheapest feasible placement, which is the fewest chips that hold weights, KV cache and activations, or a forced one.

    On a forced number of chips that does not hold it, weights are streamed where the machine has an external link.
    By default a wafer's further wafers and an LPU's further chips are a pipeline, since no other use of them is published;
    everything else is tensor parallel, for that is faster at batch 1; expert parallel where that needs fewer chips or heads
    cannot be split so, and a pipeline where neither split exists.

    Args:
        alone: the run on one chip.
        activations_gb: at most alive at a time.
        devices: forced number of chips.
        parallel: forced way to use several.

    Raises:
        UsageError: if it fits nowhere, the number cannot be split that way, or the size of the memory is not known.
    """
    (found,) = places([alone], np.array([activations_gb]), [devices], parallel)
    if isinstance(found, UsageError):
        raise found
    return found


def places(
    alone: Sequence[Situation],
    activations_gb: Float[np.ndarray, "runs"],
    devices: Sequence[int | None],
    parallel: Parallel = "auto",
) -> list[Placement | UsageError]:
    """Many at once, each what `place` gives of it, or raises."""
    if not alone:
        return []
    columns = Runs.of(alone)
    least = fewest(columns, activations_gb, parallel)
    counts = [1 if count is None else count for count in devices]
    ways = [_usable(one, count, parallel) for one, count in zip(alone, counts, strict=True)]
    needed_gb = {way: _needed_gb(columns, activations_gb, counts, ways, way) for way in HOW}
    found: list[Placement | UsageError] = []
    for place, (one, count) in enumerate(zip(alone, devices, strict=True)):
        try:
            capacity_gb = check_machine(one.device, count, parallel)
            check_model(one.model, parallel)
            of_fewest = _fewest(one, least, place, capacity_gb)
            activations = float(activations_gb[place])
            if count is not None:
                room = _Room(capacity_gb, {way: float(needed_gb[way][place]) for way in ways[place]}, of_fewest)
                found.append(_forced(one, activations, count, parallel, ways[place], room))
            elif of_fewest:
                found.append(of_fewest)
            else:
                found.append(UsageError(too_large(one.model, one.device, memory_gb(one, activations))))
        except UsageError as error:
            found.append(error)
    return found


def check_machine(device: Envelope, devices: int | None, parallel: Parallel) -> float:
    """The memory of one chip in GB, if the machine can be used in such a number and way.

    Raises:
        UsageError: if it cannot, or the size of its memory is not known.
    """
    name, capacity_gb = device.name, device.capacity_gb
    if capacity_gb is None:
        raise UsageError(f"device must have a memory of known size; that of {name} is not known")
    if parallel != "auto" and device.kind == "lpu":
        raise UsageError(
            f"parallel must be auto on {name}, where the vendor's compiler lays a static pipeline; got {parallel!r}"
        )
    if parallel == "tp" and device.kind == "wafer" and devices != 1:
        raise UsageError(f"parallel must be pp or auto on {name}, for no tensor parallelism over wafers is published; got 'tp'")
    if parallel == "ep" and (device.kind == "wafer" or is_alone(device)) and devices != 1:
        raise UsageError(f"parallel must be pp or auto on {name}, for no all-to-all between several of it is known; got 'ep'")
    if devices is not None and devices > 1 and is_alone(device):
        raise UsageError(f"devices must be 1 on {name}, for no link between several of it is known; got {devices}")
    return capacity_gb


def check_model(model: Model, parallel: Parallel) -> None:
    """Raises UsageError unless a model can be split in a way that is forced."""
    if parallel == "ep" and model.mixture is None:
        raise UsageError(f"parallel must be auto, tp or pp for {model.name}, which is no mixture of experts; got 'ep'")


def too_large(model: Model, device: Envelope, needed_gb: float) -> str:
    """Why no number of a machine holds a model that needs so much."""
    return (
        f"model must fit the memory of some number of devices; {model.name} needs {needed_gb:,.0f} GB "
        f"and cannot be split so finely that it fits {device.capacity_gb:g} GB each of {device.name}"
    )


def streamed(alone: Situation, activations_gb: float, chips: int = 1, parallel: Parallel = "auto") -> Placement | None:
    """The run with weights streamed in over the external link, None where there is no link or the cache does not fit either.

    A wafer streams every weight and keeps none, only cache and activations (weight streaming as the vendor describes it);
    other machines keep what fits beside those and stream the rest. What is replicated is never streamed, so nothing is where
    whole experts lie on several chips.
    """
    link, capacity_gb = alone.device.external_link_gbs, alone.device.capacity_gb
    if link is None or capacity_gb is None or (parallel == "ep" and chips > 1):
        return None
    # The format that is asked for holds all that streams, whatever an engine does with an LM head that stays.
    alone = replace(alone, engine=replace(alone.engine, narrow_head=True))
    usual: list[How] = [way for way in _usable(alone, chips, parallel) if way != "expert parallel"]
    run = _on(alone, chips, usual[0] if usual else "pipeline")
    cached_gb = cache_gb(run, activations_gb)
    if cached_gb > capacity_gb:
        return None
    room_gb = 0.0 if alone.device.kind == "wafer" else chips * (capacity_gb - cached_gb)
    missing = max(0.0, 1 - room_gb / alone.resident_gb)
    return Placement(
        run,
        "streamed weights",
        cached_gb + min(room_gb, alone.resident_gb) / chips,
        capacity_gb,
        missing * alone.weight_bytes,
        chips * link.value,
    )


def memory_gb(run: Situation, activations_gb: float) -> float:
    """Memory of the fullest chip, as `placing.memory_gb` has it."""
    return float(placing.memory_gb(run.columns, np.array([activations_gb]))[0])


def cache_gb(run: Situation, activations_gb: float) -> float:
    """KV cache and activations of the fullest chip, as `placing.cache_gb` has it."""
    return float(placing.cache_gb(run.columns, np.array([activations_gb]))[0])


def _needed_gb(
    alone: Runs, activations_gb: Float[np.ndarray, "runs"], chips: Sequence[int], ways: Sequence[Sequence[How]], way: How
) -> Float[np.ndarray, "runs"]:
    """Memory of the fullest chip where a way can be used, 0 elsewhere."""
    found = np.zeros(len(alone))
    rows = np.flatnonzero([way in usable for usable in ways])
    if len(rows):
        is_pipeline, is_expert_parallel = (np.full(len(rows), way == one) for one in ("pipeline", "expert parallel"))
        run = alone.rows(rows).on(np.array(chips)[rows], is_pipeline, is_expert_parallel)
        found[rows] = placing.memory_gb(run, activations_gb[rows])
    return found


@dataclass(frozen=True)
class _Room:
    """Memory of one chip, what a forced number of them needs in each way they can be used, and the fewest, if any."""

    capacity_gb: float
    needed_gb: Mapping[How, float]
    fewest: Placement | None


def _forced(
    alone: Situation, activations_gb: float, devices: int, parallel: Parallel, ways: Sequence[How], room: _Room
) -> Placement:
    model, capacity_gb = alone.model, room.capacity_gb
    if not ways:
        what = f"be at most the {model.layers} layers"
        if parallel == "tp":
            what = f"divide the {model.heads} heads"
        elif parallel == "ep" and model.mixture is not None:
            even = ", ".join(map(str, dealings(model.mixture)))
            what = f"be one of {even}, which deal evenly the {model.mixture.experts} experts"
        raise UsageError(f"devices must {what} of {model.name}; got {devices}")
    for way in ways:
        needed_gb = room.needed_gb[way]
        if needed_gb <= capacity_gb:
            return Placement(_on(alone, devices, way), "one chip" if devices == 1 else way, needed_gb, capacity_gb)
    if found := streamed(alone, activations_gb, devices, parallel):
        return found
    least = f"it needs {room.fewest.run.chips}" if room.fewest else "no number of them holds it"
    raise UsageError(
        f"devices must be enough to hold {model.name}, which takes {room.needed_gb[ways[0]]:,.1f} GB of the "
        f"{capacity_gb:g} GB of each {alone.device.name}; got {devices}, {least}"
    )


def _fewest(alone: Situation, found: Fewest, place: int, capacity_gb: float) -> Placement | None:
    if not found.fits[place]:
        return None
    how = HOW[found.how[place]]
    run = _on(alone, int(found.runs.chips[place]), how)
    return Placement(run, how, float(found.needed_gb[place]), capacity_gb)


def _usable(alone: Situation, devices: int, parallel: Parallel) -> list[How]:
    """Ways that so many chips can be used, the usual one first."""
    return [way for way in _ways(alone, parallel) if _can(alone, devices, way)]


def _ways(alone: Situation, parallel: Parallel) -> tuple[How, ...]:
    """Ways to use several chips, the usual one first."""
    if alone.device.kind == "lpu":
        return ("static pipeline",)
    if alone.device.kind == "wafer":
        return ("pipeline",)
    forced: dict[Parallel, tuple[How, ...]] = {"tp": ("tensor parallel",), "ep": ("expert parallel",), "pp": ("pipeline",)}
    return forced.get(parallel, ("tensor parallel", "expert parallel", "pipeline"))


def _most(alone: Situation, way: How) -> int:
    if is_alone(alone.device):
        return 1
    return {"tensor parallel": alone.model.heads, "pipeline": alone.model.layers}.get(way, MOST_CHIPS)


def _can(alone: Situation, chips: int, way: How) -> bool:
    """Whether whole heads, whole experts, or whole layers, can go to so many chips."""
    if way == "tensor parallel":
        return splits(alone.model, chips)
    if way == "expert parallel":
        return alone.model.mixture is not None and chips in dealings(alone.model.mixture)
    return chips <= _most(alone, way)


def _on(alone: Situation, chips: int, way: How) -> Situation:
    several = chips > 1
    return replace(
        alone, chips=chips, pipeline=way == "pipeline" and several, expert_parallel=way == "expert parallel" and several
    )
