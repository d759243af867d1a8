"""What some chips draw, on two bases that are never mixed: typical, in use, and peak, the most they may draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from .envelope import Envelope, Quantity

Basis = Literal["typical", "peak"]


@dataclass(frozen=True)
class Power:
    """Watts of some chips.

    Attributes:
        low, point, high: watts; the plausible range where the source gives one.
        scope: what draws them, in words.
        source: who says so.
    """

    low: float
    point: float
    high: float
    scope: str
    source: str


def power(device: Envelope, chips: int, basis: Basis) -> Power | None:
    """Watts of so many chips on one basis, None where none is known.

    A node's figure goes before the chip's own, because hosts, fans and switches draw, too; of a node in part use its share
    is taken.
    """
    node, chip = getattr(device, f"node_power_{basis}_w"), getattr(device, f"power_{basis}_w")
    if node is not None and device.node_chips is not None:
        share = chips / device.node_chips.value
        size = f"{device.node_chips.value:g}"
        return _times(node, share, f"{chips} of {size} chips of a node" if share < 1 else f"{share:g} nodes of {size} chips")
    if chip is not None:
        return _times(chip, chips, "chips alone" if device.kind == "gpu" else "as the vendor sells it")
    return None


def _times(one: Quantity, factor: float, scope: str) -> Power:
    low, high = (one.value if bound is None else bound for bound in (one.low, one.high))
    source = f"{one.source} ({one.basis})" if one.basis != "recalled" else one.source
    return Power(low * factor, one.value * factor, high * factor, scope, source)
