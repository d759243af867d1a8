"""What some chips draw, on two bases that are never mixed: typical, in use, and peak, the most they may draw."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from .envelope import Envelope, Quantity

Basis = Literal["typical", "peak"]
BASES: tuple[Basis, ...] = get_args(Basis)


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


@dataclass(frozen=True)
class Rate:
    """What some chips together draw, as a source gives it.

    Attributes:
        low, point, high: watts.
        chips: that they are of.
        is_node: whether hosts, fans and switches are in it.
        source: who says so.
    """

    low: float
    point: float
    high: float
    chips: float
    is_node: bool
    source: str


def rate(device: Envelope, basis: Basis) -> Rate | None:
    """A machine's power on one basis, None where none is known.

    A node's figure goes before the chip's own, because hosts, fans and switches draw, too.
    """
    node, chip = getattr(device, f"node_power_{basis}_w"), getattr(device, f"power_{basis}_w")
    if node is not None and device.node_chips is not None:
        return _rate(node, device.node_chips.value, is_node=True)
    return None if chip is None else _rate(chip, 1.0, is_node=False)


def power(device: Envelope, chips: int, basis: Basis) -> Power | None:
    """Watts of so many chips on one basis, None where none is known. Of a node in part use its share is taken."""
    one = rate(device, basis)
    if one is None:
        return None
    share = chips / one.chips
    if one.is_node:
        scope = f"{chips} of {one.chips:g} chips of a node" if share < 1 else f"{share:g} nodes of {one.chips:g} chips"
    else:
        scope = "chips alone" if device.kind == "gpu" else "as the vendor sells it"
    return Power(one.low * share, one.point * share, one.high * share, scope, one.source)


def _rate(one: Quantity, chips: float, *, is_node: bool) -> Rate:
    low, high = (one.value if bound is None else bound for bound in (one.low, one.high))
    source = f"{one.source} ({one.basis})" if one.basis != "recalled" else one.source
    return Rate(low, one.value, high, chips, is_node, source)
