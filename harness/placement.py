"""Where a model goes: on one chip, over the fewest that hold it, or streamed in over the external link token after token."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from ..kernels.model import Model
from . import placing
from .calibrate.routing import dealings
from .calibrate.situation import Situation
from .envelope import Envelope
from .errors import UsageError
from .placing import HOW, MOST_CHIPS, How, Parallel, fewest, is_alone, splits


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

    def lack_gb(self, run: Situation, activations_gb: float) -> float:
        """Memory that another run in this placement needs beyond what the fullest chip has; 0 where it fits."""
        held = cache_gb(run, activations_gb) if self.streamed_bytes else memory_gb(run, activations_gb)
        return max(0.0, held - self.capacity_gb)


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
    capacity_gb = check_machine(alone.device, devices, parallel)
    check_model(alone.model, parallel)
    if devices is not None:
        return _forced(alone, activations_gb, devices, parallel, capacity_gb)
    if found := _fewest(alone, activations_gb, parallel, capacity_gb):
        return found
    raise UsageError(too_large(alone.model, alone.device, memory_gb(alone, activations_gb)))


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
    if parallel == "ep" and chips > 1:
        return None
    # The format that is asked for holds all that streams, whatever an engine does with an LM head that stays.
    alone = replace(alone, engine=replace(alone.engine, narrow_head=True))
    link, capacity_gb = alone.device.external_link_gbs, alone.device.capacity_gb
    usual: list[How] = [way for way in _ways(alone, parallel) if way != "expert parallel" and _can(alone, chips, way)]
    run = _on(alone, chips, usual[0] if usual else "pipeline")
    cached_gb = cache_gb(run, activations_gb)
    if link is None or capacity_gb is None or cached_gb > capacity_gb:
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


def _forced(alone: Situation, activations_gb: float, devices: int, parallel: Parallel, capacity_gb: float) -> Placement:
    model = alone.model
    ways: list[How] = [way for way in _ways(alone, parallel) if _can(alone, devices, way)]
    if not ways:
        what = f"be at most the {model.layers} layers"
        if parallel == "tp":
            what = f"divide the {model.heads} heads"
        elif parallel == "ep" and model.mixture is not None:
            even = ", ".join(map(str, dealings(model.mixture)))
            what = f"be one of {even}, which deal evenly the {model.mixture.experts} experts"
        raise UsageError(f"devices must {what} of {model.name}; got {devices}")
    for way in ways:
        if found := _resident(alone, activations_gb, devices, way, capacity_gb):
            return found
    if found := streamed(alone, activations_gb, devices, parallel):
        return found
    needed_gb = memory_gb(_on(alone, devices, ways[0]), activations_gb)
    found = _fewest(alone, activations_gb, parallel, capacity_gb)
    least = f"it needs {found.run.chips}" if found else "no number of them holds it"
    raise UsageError(
        f"devices must be enough to hold {model.name}, which takes {needed_gb:,.1f} GB of the {capacity_gb:g} GB of each "
        f"{alone.device.name}; got {devices}, {least}"
    )


def _fewest(alone: Situation, activations_gb: float, parallel: Parallel, capacity_gb: float) -> Placement | None:
    found = fewest(alone.columns, np.array([activations_gb]), parallel)
    if not found.fits[0]:
        return None
    how = HOW[found.how[0]]
    return Placement(_on(alone, int(found.runs.chips[0]), how), how, float(found.needed_gb[0]), capacity_gb)


def _resident(alone: Situation, activations_gb: float, chips: int, way: How, capacity_gb: float) -> Placement | None:
    run = _on(alone, chips, way)
    needed_gb = memory_gb(run, activations_gb)
    return Placement(run, "one chip" if chips == 1 else way, needed_gb, capacity_gb) if needed_gb <= capacity_gb else None


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
