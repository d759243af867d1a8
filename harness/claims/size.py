"""Claims about what fits: on one wafer, on several, and what splitting costs."""

from __future__ import annotations

import math

from ..calibrate.traffic import traffic
from ..errors import UsageError
from ..facts.catalogue import names
from ..facts.devices import device_named
from ..facts.envelope import Envelope
from ..facts.models import model_named
from ..predict.answer import answers
from ..words import figure, percent
from .finding import (
    AT_BITS,
    BITS,
    Finding,
    Given,
    ask,
    at_each,
    by_bits,
    capacity_gb,
    counts,
    gigabytes,
    plain,
    row,
    said,
    weights_held,
)


def capacity(given: Given) -> Finding:
    """Weights that the wafer's memory holds, and the devices or bits for as many as stated."""
    device, stated = device_named(given["device"]), given["parameters_b"] * 1e9
    room_gb = capacity_gb(device)
    holds = [room_gb * 8 / bits for bits in BITS]
    wafers = [math.ceil(gigabytes(stated, bits) / room_gb) for bits in BITS]
    least_bits = room_gb * 8e9 / stated
    figures = by_bits("holds_b", holds) | by_bits("wafers", wafers) | {"least_bits": least_bits}
    return Finding(
        f"{plain(room_gb)} GB hold {row(holds)}B parameters {AT_BITS}, before any KV cache",
        "true"
        if max(holds) * 1e9 >= stated
        else f"false at any of these widths: what holds {figure(stated / 1e9)}B is memory outside the wafer",
        least=f"{figure(least_bits, 2)} bits a parameter, or {counts(wafers)} wafers {AT_BITS}",
        figures=figures,
    )


def wafers_needed(given: Given) -> Finding:
    """By capacity alone, and with whole layers on each wafer and a KV cache."""
    model, device = model_named(given["model"]), device_named(given["device"])
    held = weights_held(model)
    sizes = [gigabytes(held, bits) for bits in BITS]
    bare = [math.ceil(size / capacity_gb(device)) for size in sizes]
    found = at_each(model, device)
    figures = {"parameters_b": held / 1e9} | by_bits("wafers_by_capacity", bare)
    figures |= by_bits("wafers", [one.chips for one in found.values()])
    return Finding(
        f"{figure(held / 1e9, 4)}B parameters in the rumoured shape, {row(sizes)} GB {AT_BITS}: {counts(bare)} wafers by "
        f"capacity alone, {counts([one.chips for one in found.values()])} with whole layers on each and a KV cache",
        "true, on a shape that nobody has confirmed" if min(bare) > 1 else "false",
        predicts="; ".join(f"{one.chips} wafers, {bits} bits: {said(one.tokens_per_s)}" for bits, one in found.items()),
        figures=figures,
    )


def parallelism(given: Given) -> Finding:
    """The largest model that one wafer holds, and the share of a GPU node's step that goes to all-reduces."""
    model, wafer, device, count = (
        model_named(given["model"]),
        device_named(given["wafer"]),
        device_named(given["device"]),
        given["devices"],
    )
    largest = [_largest(wafer, bits) for bits in BITS]
    several, node = answers([ask(model, wafer, 16), ask(model, device, 16, count)])
    total_us = sum(node.parts_us.values())
    share = node.parts_us.get("all-reduces", 0.0) / total_us
    waiting = share + node.parts_us.get("group", 0.0) / total_us
    known = ", ".join(f"{name} at {bits} bits" for bits, name in zip(BITS, largest, strict=True))
    return Finding(
        f"the largest models here that one wafer holds: {known}; "
        f"{model.name} at 16 bits takes {several.chips}, one after the other",
        f"true of what fits one wafer; {model.name} does not, and its {several.chips} wafers are a pipeline",
        predicts=f"{count}x {device.name}, 16 bits: {2 * model.layers} all-reduces take {percent(share)} of a token, with the "
        f"processes that wait for one another {percent(waiting)}",
        figures={"all_reduce_share": share, "wafers": several.chips},
    )


def _largest(device: Envelope, bits: int) -> str:
    """The largest decoder of the catalogue whose weights one device holds."""
    sizes: dict[str, float] = {}
    for name in names("model"):
        model = model_named(name)
        try:
            traffic(model)
        except UsageError:
            continue
        if (size := gigabytes(weights_held(model), bits)) <= capacity_gb(device):
            sizes[name] = size
    return max(sizes, key=lambda name: sizes[name])
