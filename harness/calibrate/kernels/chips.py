"""What the kernel model takes from a chip's specification, and what it assumes where the specification is silent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from jaxtyping import Bool, Float, Shaped

from ...errors import UsageError
from ...facts.envelope import Envelope

TYPICAL_READ = 0.93
"""Share of the peak that a plain read reaches where none was measured: the middle of 0.86 on an A100, 0.93 on an H200 and
0.95 on an H100 (github.com/Azure/AI-benchmarking-guide)."""

TYPICAL_CLOCK_GHZ = 1.8
TYPICAL_SM = 108.0
"""Where a specification does not say: GPUs since 2020 run at 1.4 to 2.5 GHz."""

PCIE_GBS = 32.0
"""PCI Express 4.0 x16 in one direction, for GPUs whose links are not known."""


@dataclass(frozen=True)
class Chips:
    """Specification of the chip of each call.

    Attributes:
        peak_gbs, read_gbs: bandwidth of the main memory, as specified and as a plain read reaches it.
        sm: streaming multiprocessors.
        clock_ghz: their highest clock.
        l2_bytes: L2 cache; 0 where it is not known.
        link_gbs: to other chips, one direction.
        is_switched: chips talk over links of their own rather than over the host's PCI Express.
        architecture: generation of the cores.
        assumed: how many of the figures above the specification does not say.
    """

    peak_gbs: Float[np.ndarray, "calls"]
    read_gbs: Float[np.ndarray, "calls"]
    sm: Float[np.ndarray, "calls"]
    clock_ghz: Float[np.ndarray, "calls"]
    l2_bytes: Float[np.ndarray, "calls"]
    link_gbs: Float[np.ndarray, "calls"]
    is_switched: Bool[np.ndarray, "calls"]
    architecture: Shaped[np.ndarray, "calls"]
    assumed: Float[np.ndarray, "calls"]

    def __getitem__(self, chosen: np.ndarray) -> Chips:
        """The chips of some of the calls."""
        return Chips(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})


def chips_of(devices: Sequence[Envelope], place: np.ndarray) -> Chips:
    """The specification per call, of devices and each call's place among them."""
    peak, read, sm, clock, l2, link = np.array([_figures(device) for device in devices]).reshape(len(devices), 6)[place].T
    switched = np.array([device.link_gbs is not None for device in devices], dtype=bool)[place]
    named = np.array([device.architecture for device in devices], dtype=str)[place]
    asked = [(one.main.read_gbs, one.sm, one.clock_ghz, one.l2_mb, one.link_gbs or one.external_link_gbs) for one in devices]
    assumed = np.array([sum(figure is None for figure in one) for one in asked], dtype=float)[place]
    return Chips(peak, read, sm, clock, l2, link, switched, named, assumed)


def check(device: Envelope) -> None:
    """Raises UsageError unless the device is one whose kernels the model describes."""
    if device.kind != "gpu":
        raise UsageError(f"chip must be a GPU, which kernels are launched on; {device.name} is a {device.kind}")


def _figures(device: Envelope) -> tuple[float, ...]:
    main = device.main
    peak_gbs = main.bandwidth_gbs.value
    link = (
        device.link_gbs.value / 2
        if device.link_gbs
        else device.external_link_gbs.value
        if device.external_link_gbs
        else PCIE_GBS
    )
    return (
        peak_gbs,
        main.read_gbs.value if main.read_gbs else TYPICAL_READ * peak_gbs,
        device.sm.value if device.sm else TYPICAL_SM,
        device.clock_ghz.value if device.clock_ghz else TYPICAL_CLOCK_GHZ,
        device.l2_mb.value * 1e6 if device.l2_mb else 0.0,
        link,
    )
