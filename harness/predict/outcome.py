"""What is said of placed runs, many at once: speed, first token, ceiling, bound, basis, watts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from ..calibrate.decode import Calibration, Evidence
from ..calibrate.effects import Effect, prior_of
from ..calibrate.interval import Z_80
from ..calibrate.machines.term import platform_of
from ..calibrate.ranges import Range
from ..calibrate.runs import Runs
from ..facts.power import Basis, rate
from .foretell import Foretold, foretell

Floats = Float[np.ndarray, "runs"]


@dataclass(frozen=True)
class Outcome:
    """Figures of some runs.

    Attributes:
        step: what the calibrated model says of them.
        time_us: per output token, with the external link and above every floor.
        floor_us: that physics sets: memory, arithmetic or link.
        link_us: time over the external link, 0 where nothing streams in.
        ttft_ms: time to the first token; NaN where it cannot be given.
        bound: `memory`, `compute`, `latency` or `link`.
        basis: `fitted`, `carried` or `specification`.
    """

    step: Foretold
    time_us: Range
    floor_us: Floats
    link_us: Range
    ttft_ms: Range
    bound: np.ndarray
    basis: np.ndarray

    @cached_property
    def tokens_per_s(self) -> Range:
        return self.time_us.under(1e6)

    def joules_per_token(self, watts: Range) -> Range:
        """Watts over speed, both doubts together."""
        return self.tokens_per_s.under(1.0).jointly(watts)

    def cost_per_million(self, price: float) -> Range:
        """Of a million tokens at a price per device and hour."""
        return cost_per_million(self.tokens_per_s, self.step.runs.chips, price)

    def parts_of(self, run: int) -> dict[str, float]:
        """Where one run's token goes, in microseconds at the point."""
        link = float(np.asarray(self.link_us.point)[run])
        return self.step.parts_of(run) | ({"external link": link} if link else {})

    def is_linked(self, run: int) -> bool:
        """Whether most of one run's time goes over the external link."""
        return bool(self.bound[run] == "link")


def outcome(
    runs: Runs,
    *,
    prompt: Floats,
    flops: Floats,
    peak_flops: Floats,
    link_floor_us: Floats,
    has_ttft: Bool[np.ndarray, "runs"],
    known: Evidence,
    given: Calibration,
) -> Outcome:
    """The figures of placed runs, at least one.

    Args:
        runs: on their chips.
        prompt: tokens that the time to the first one is for.
        flops: arithmetic of a token.
        peak_flops: of one chip in the format of the weights.
        link_floor_us: least time of a token over the external link.
        has_ttft: whether the prompt's cache fits.
        known, given: evidence and the calibration on it.
    """
    step, first = foretell(given, runs), foretell(given, runs.opening(prompt))
    arithmetic_us = flops / (runs.streams * peak_flops) * 1e6
    floor_us = np.maximum(np.maximum(runs.floor_us, arithmetic_us), link_floor_us)
    link = _link_us(link_floor_us)
    time_us = step.time_us.plus(link).at_least(floor_us)
    is_known = np.where(has_ttft & np.isfinite(runs.by_device(lambda device: device.peak_flops("f16"))), 1.0, np.nan)
    memory_us = sum((step.parts_us[name] for name in ("weights", "experts", "kv", "reading")), np.zeros(len(runs)))
    half = time_us.point / 2
    is_linked = np.asarray(link.point > half)
    bound = np.select([is_linked, arithmetic_us > half, memory_us > half], ["link", "compute", "memory"], "latency")
    ttft_ms = first.time_us.plus(link).times(1e-3).times(is_known)
    return Outcome(step, time_us, floor_us, link, ttft_ms, bound, _basis(step, is_linked, known))


def cost_per_million(tokens_per_s: Range, chips: Any, price: float) -> Range:
    """Of a million tokens of a run on so many devices, or of many, at a price per device and hour."""
    return tokens_per_s.under(price * chips / 3600 * 1e6)


def watts(runs: Runs, basis: Basis) -> Range:
    """Of all chips of each run; NaN where a machine's is not known on the basis."""
    rates = [rate(device, basis) for device in runs.devices]
    ends = [[np.nan] * 4 if one is None else [one.low, one.point, one.high, one.chips] for one in rates]
    low, point, high, per = np.array(ends)[runs.device].T
    return Range(*(end * (runs.chips / per) for end in (low, point, high)))


def _link_us(floor_us: Floats) -> Range:
    """Time over the external link, as far from its peak as memories are believed to be before any evidence."""
    excess = prior_of(Effect("stream", "base"))
    ends = (excess.mean + sign * Z_80 * excess.sd for sign in (-1, 0, 1))
    return Range(*(floor_us * (1 + np.exp(end)) for end in ends))


def _basis(step: Foretold, is_linked: Bool[np.ndarray, "runs"], known: Evidence) -> np.ndarray:
    """`fitted` on speeds of the machine, `carried` from others of its platform, else its specification."""
    platforms = {platform_of(device) for device in known.columns.devices}
    is_near = step.runs.by_device(lambda device: platform_of(device) in platforms)
    return np.select([is_linked, step.carried < 2, is_near], ["specification", "fitted", "carried"], "specification")
