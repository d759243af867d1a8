"""The one type of every machine, the one under the desk and the one in a datasheet: what it can do at the most.

Units: decimal GB, GB/s (1e9 bytes a second), dense TFLOP/s (1e12 a second, a multiply-add counts two), microseconds, watts.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal, get_args

from ..errors import UsageError
from .bounds import LEAST_FIGURE, MOST_FIGURE

Basis = Literal["measured", "datasheet", "derived", "recalled"]
Kind = Literal["cpu", "gpu", "tpu", "wafer", "lpu", "rdu", "soc", "accelerator"]

FORMAT_BITS: Mapping[str, int] = {
    "f32": 32, "tf32": 19, "bf16": 16, "f16": 16, "fp8": 8, "int8": 8, "fp6": 6, "fp4": 4, "mxfp4": 4, "int4": 4,
}  # fmt: skip
"""Bits of the number formats that a machine can have a peak in."""

_SAME_RATE = {"bf16": "f16", "f16": "bf16", "mxfp4": "fp4"}


@dataclass(frozen=True)
class Quantity:
    """One figure and where it comes from.

    Attributes:
        value: from `LEAST_FIGURE` to `MOST_FIGURE`, in the unit that the field's name says.
        source: who says so.
        date: of the source, as year, year-month or year-month-day.
        basis: `measured` on such a machine, the vendor's `datasheet`, `derived` from other figures, or `recalled` from
            memory with no document found.
        low: least plausible value, if known.
        high: largest plausible value, if known.
        note: what a reader must know before trusting it.

    Raises:
        UsageError: if a figure is no number within these bounds, low <= value <= high does not hold, or the provenance
            is missing.

    """

    value: float
    source: str
    date: str
    basis: Basis
    low: float | None = None
    high: float | None = None
    note: str = ""

    def __post_init__(self) -> None:
        for name in ("value", "low", "high"):
            figure = getattr(self, name)
            if not (figure is None and name != "value") and not _is_plausible(figure):
                raise UsageError(f"{name} must be a number from {LEAST_FIGURE:g} to {MOST_FIGURE:g}; got {figure!r}")
        low, high = (self.value if bound is None else bound for bound in (self.low, self.high))
        if not low <= self.value <= high:
            raise UsageError(f"value must lie from low to high; got {self.value} with low {low} and high {high}")
        if not isinstance(self.note, str):
            raise UsageError(f"note must be a text; got {self.note!r}")
        if not isinstance(self.source, str) or not self.source.strip():
            raise UsageError(f"source must say where the figure comes from; got {self.source!r}")
        if not isinstance(self.date, str) or not re.fullmatch(r"\d{4}(-\d\d){0,2}", self.date):
            raise UsageError(f"date must be a year, year-month or year-month-day such as 2026-11; got {self.date!r}")
        if self.basis not in get_args(Basis):
            raise UsageError(f"basis must be one of {', '.join(get_args(Basis))}; got {self.basis!r}")


@dataclass(frozen=True)
class Memory:
    """One tier of a machine's memory.

    Attributes:
        name: `sram`, `hbm`, `gddr`, `lpddr`, `ddr`, `dram`.
        bandwidth_gbs: peak, which nothing exceeds.
        capacity_gb: size, if known.
        read_gbs: measured, reading only.
        copy_gbs: measured, bytes read plus bytes written.
        triad_gbs: measured, `a = b + s * c`, bytes read plus bytes written.

    """

    name: str
    bandwidth_gbs: Quantity
    capacity_gb: Quantity | None = None
    read_gbs: Quantity | None = None
    copy_gbs: Quantity | None = None
    triad_gbs: Quantity | None = None

    @property
    def best_read_gbs(self) -> float:
        """Measured read bandwidth if there is one, else the peak."""
        return (self.read_gbs or self.bandwidth_gbs).value


@dataclass(frozen=True)
class Envelope:
    """What one chip can do at the most, figure by figure, each with its source.

    Attributes:
        name: of the machine.
        kind: what sort of machine it is, which decides how predictions are carried to it.
        memories: its tiers, fastest first.
        weights_in: the tier that weights stream from in decode.
        platform: what the software that runs on it is written for: `cuda`, `rocm`, `metal`; empty where it has one of its own.
        architecture: generation of its cores, such as `ampere`, which decides what kernels engines have for it; may be empty.
        peak_tflops: dense peak by number format (the keys of `FORMAT_BITS`), never a sparse figure.
        multiply_add_tflops: measured multiply-add rate in f32.
        launch_us: time from one kernel's end to the next one's start.
        layer_us: serial latency of one transformer layer at batch 1, derived from published speeds; only for machines
            whose layers are bound by latency.
        link_gbs: chip to chip, both directions together, per chip.
        external_link_gbs: from the host or the weight store to the chip, one direction.
        allreduce_us: one small all-reduce over a node's chips.
        power_typical_w: in use. A system's where chips are only sold as systems.
        power_peak_w: the most it may draw; never to be compared with a typical figure.
        node_chips: chips in the node that the node's power belongs to.
        node_power_typical_w: the whole node, in use.
        node_power_peak_w: the whole node, the most it may draw.
        cores: processing elements, as the vendor counts them.
        sm: streaming multiprocessors or compute units.
        clock_ghz: of the cores, at the most.
        l2_mb: decimal MB of the last cache before the main memory.
        transistors_b: billions of transistors.
        note: what does not fit any field.

    Raises:
        UsageError: if kind, memories, `weights_in`, a format or the powers contradict each other.

    """

    name: str
    kind: Kind
    memories: tuple[Memory, ...]
    weights_in: str
    peak_tflops: Mapping[str, Quantity] = field(default_factory=dict, hash=False)
    multiply_add_tflops: Quantity | None = None
    launch_us: Quantity | None = None
    layer_us: Quantity | None = None
    link_gbs: Quantity | None = None
    external_link_gbs: Quantity | None = None
    allreduce_us: Quantity | None = None
    power_typical_w: Quantity | None = None
    power_peak_w: Quantity | None = None
    node_chips: Quantity | None = None
    node_power_typical_w: Quantity | None = None
    node_power_peak_w: Quantity | None = None
    cores: Quantity | None = None
    sm: Quantity | None = None
    clock_ghz: Quantity | None = None
    l2_mb: Quantity | None = None
    transistors_b: Quantity | None = None
    platform: str = ""
    architecture: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        where = f"device {self.name}"
        if self.kind not in get_args(Kind):
            raise UsageError(f"{where}: kind must be one of {', '.join(get_args(Kind))}; got {self.kind!r}")
        tiers = [memory.name for memory in self.memories]
        if self.weights_in not in tiers:
            raise UsageError(f"{where}: weights_in must be one of its memories ({', '.join(tiers)}); got {self.weights_in!r}")
        speeds = [memory.bandwidth_gbs.value for memory in self.memories]
        if speeds != sorted(speeds, reverse=True):
            raise UsageError(f"{where}: memories must be listed fastest first; got {', '.join(tiers)} at {speeds} GB/s")
        for name in self.peak_tflops:
            if name not in FORMAT_BITS:
                raise UsageError(f"{where}: peak_tflops: {_not_a_format(name)}")
        for typical, peak in (
            (self.power_typical_w, self.power_peak_w),
            (self.node_power_typical_w, self.node_power_peak_w),
        ):
            if typical and peak and typical.value > peak.value:
                raise UsageError(f"{where}: typical power must not exceed peak power; got {typical.value} W and {peak.value} W")
        if (self.node_power_typical_w or self.node_power_peak_w) and not self.node_chips:
            raise UsageError(f"{where}: node_chips must say how many chips the node's power belongs to; got none")

        if self.node_chips and self.node_chips.value < 1:
            raise UsageError(f"{where}: node_chips must be at least 1; got {self.node_chips.value}")

    @property
    def main(self) -> Memory:
        """The memory that weights stream from in decode."""
        return next(memory for memory in self.memories if memory.name == self.weights_in)

    @property
    def capacity_gb(self) -> float | None:
        """Size of the main memory in decimal GB, None if it is not known."""
        return self.main.capacity_gb.value if self.main.capacity_gb else None

    def peak_flops(self, format: str) -> float:
        """Dense peak in FLOP/s of a number format; a suffix after `_`, such as a block size, does not count.

        Without an entry of its own, bf16 and f16 stand in for each other, since every machine that has both runs them
        at one rate, and fp4 for mxfp4, which is fp4 with its scales. Any other format takes the next wider one's peak,
        for its values can be widened and computed there.
        With nothing wider, the nearest narrower one's, because no machine computes wide numbers faster than narrow ones.
        A machine without any published peak has no bound: infinity.

        Raises:
            UsageError: if there is no such format.

        """
        name = format.partition("_")[0]
        if name not in FORMAT_BITS:
            raise UsageError(_not_a_format(format))
        for entry in (name, _SAME_RATE.get(name, name)):
            if entry in self.peak_tflops:
                return self.peak_tflops[entry].value * 1e12
        bits = FORMAT_BITS[name]
        ranked = sorted(
            (FORMAT_BITS[other] <= bits, abs(FORMAT_BITS[other] - bits), -peak.value)
            for other, peak in self.peak_tflops.items()
        )
        return -ranked[0][-1] * 1e12 if ranked else math.inf

    def ridge_point(self, format: str) -> float:
        """Arithmetic intensity in FLOP per byte above which the peak, not the main memory, is the bound."""
        return self.peak_flops(format) / (self.main.bandwidth_gbs.value * 1e9)

    def floor_us(self, bytes: float, flops: float, format: str) -> float:
        """The roofline's least time in microseconds (Williams, Waterman and Patterson 2009), on the peaks.

        Nothing may be faster, provided that the bytes are those that come from the main memory.
        """
        return max(bytes / (self.main.bandwidth_gbs.value * 1e9), flops / self.peak_flops(format)) * 1e6

    def quantities(self) -> Iterator[tuple[str, Quantity]]:
        """Every figure of the machine under its dotted field name, such as `memories.hbm.read_gbs`."""
        for memory in self.memories:
            yield from _quantities_of(memory, f"memories.{memory.name}.")
        for name, peak in self.peak_tflops.items():
            yield f"peak_tflops.{name}", peak
        yield from _quantities_of(self, "")


def _quantities_of(record: Any, prefix: str) -> Iterator[tuple[str, Quantity]]:
    for one in fields(record):
        value = getattr(record, one.name)
        if isinstance(value, Quantity):
            yield prefix + one.name, value


def _is_plausible(figure: Any) -> bool:
    return isinstance(figure, int | float) and not isinstance(figure, bool) and LEAST_FIGURE <= figure <= MOST_FIGURE


def _not_a_format(name: str) -> str:
    near = difflib.get_close_matches(name, FORMAT_BITS, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return f"number format must be one of {', '.join(FORMAT_BITS)}; got {name!r}{hint}"
