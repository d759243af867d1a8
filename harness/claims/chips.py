"""Claims about one machine's figures: transistors, cores, memory, power."""

from __future__ import annotations

from ..calibrate.decode import evidence
from ..facts.catalogue import names
from ..facts.devices import device_named
from ..facts.envelope import Envelope, Quantity
from ..facts.models import model_named
from ..facts.power import Basis, power
from ..predict.answer import answers
from ..words import figure, percent
from .finding import Finding, Given, ask, bandwidth_gbs, capacity_gb, equal, plain, said


def transistors(given: Given) -> Finding:
    """Against the machine's file, and whose figure it is instead."""
    device, stated = device_named(given["device"]), given["transistors_b"]
    known = _value(device.transistors_b)
    figures = {"transistors_b": known}
    allows = f"{plain(known / 1e3)} trillion ({_source(device.transistors_b)})"
    if equal(stated, known):
        return Finding(allows, "true", figures=figures)
    others = [
        one.name for one in map(device_named, names("device")) if one.transistors_b and equal(stated, one.transistors_b.value)
    ]
    whose = f": {plain(stated / 1e3)} trillion is the figure of {' and '.join(others)}" if others else ""
    return Finding(allows, f"false{whose}", figures=figures)


def wafer(given: Given) -> Finding:
    """Cores, capacity and bandwidth, each against the machine's file; how much of the bandwidth published speeds need."""
    device = device_named(given["device"])
    known = {"cores": _value(device.cores), "capacity_gb": capacity_gb(device), "bandwidth_gbs": bandwidth_gbs(device)}
    wrong = [name for name, value in known.items() if not equal(given[name], value)]
    used = max(
        row.tok_s * run.floor_us / 1e6
        for row, run in zip(evidence().rows, evidence().runs, strict=True)
        if run.device.name == device.name and run.size == 1.0
    )
    return Finding(
        f"{known['cores']:,.0f} cores, {plain(known['capacity_gb'])} GB, {plain(known['bandwidth_gbs'] / 1e6)} PB/s "
        f"({_source(device.main.bandwidth_gbs)})",
        f"false: {', '.join(wrong)}"
        if wrong
        else f"true; no published decode speed uses more than {used:.2%} of that bandwidth",
        figures=known | {"bandwidth_share_used": used},
    )


def memory(given: Given) -> Finding:
    """One chip, a node of them, and how much of the peak has been measured."""
    device, count = device_named(given["device"]), given["devices"]
    main = device.main
    known = {
        "capacity_gb": capacity_gb(device),
        "bandwidth_gbs": bandwidth_gbs(device),
        "node_capacity_gb": capacity_gb(device) * count,
        "node_bandwidth_gbs": bandwidth_gbs(device) * count,
    }
    measured = {name: one.value for name in ("read", "triad", "copy") if (one := getattr(main, f"{name}_gbs")) is not None}
    wrong = [name for name, value in known.items() if not equal(given[name], value)]
    reached = ", ".join(
        f"{name} {figure(value / 1e3)} ({percent(value / known['bandwidth_gbs'])})" for name, value in measured.items()
    )
    return Finding(
        f"{plain(known['capacity_gb'])} GB at {plain(known['bandwidth_gbs'] / 1e3)} TB/s; {count} of them "
        f"{plain(known['node_capacity_gb'])} GB at {plain(known['node_bandwidth_gbs'] / 1e3)} TB/s; measured TB/s: {reached}",
        f"false: {', '.join(wrong)}" if wrong else "true, as a peak that no program reaches",
        figures=known | {f"measured_{name}_gbs": value for name, value in measured.items()},
    )


def system_power(given: Given) -> Finding:
    """Each system on both bases, and the power that goes with the speed that is claimed beside it."""
    model, one_wafer, chip = model_named(given["model"]), device_named(given["wafer"]), device_named(given["device"])
    count = given["devices"]
    watts = {basis: (_watts(one_wafer, 1, basis), _watts(chip, count, basis)) for basis in ("typical", "peak")}
    several, node = answers([ask(model, one_wafer, 16), ask(model, chip, 16, count)])
    needed = several.energy[0].watts.point
    ratio = {basis: pair[0] / pair[1] for basis, pair in watts.items()}
    own = (
        given["speeds"][0] / given["speeds"][1],
        given["first_token_ms"][1] / given["first_token_ms"][0],
        given["wafer_w"] / given["w"],
    )
    figures = {f"{basis}_ratio": value for basis, value in ratio.items()}
    figures |= {f"wafer_{basis}_w": pair[0] for basis, pair in watts.items()}
    figures |= {f"node_{basis}_w": pair[1] for basis, pair in watts.items()}
    figures |= {"wafers_needed": several.chips, "wafers_needed_typical_w": needed}
    both = "; ".join(
        f"{basis}: {plain(pair[0] / 1e3)} against {plain(pair[1] / 1e3)} kW, {figure(ratio[basis], 2)}x"
        for basis, pair in watts.items()
    )
    energy = "; ".join(
        f"{basis}: {said(left.joules_per_token, 'J/token')} against {said(right.joules_per_token, 'J/token')}"
        for left, right in zip(several.energy, node.energy, strict=True)
        if (basis := left.basis) == right.basis
    )
    return Finding(
        f"{both}. The claim's own figures give {figure(own[0], 2)}x, {figure(own[1], 2)}x and {figure(own[2], 2)}x",
        f"mixed bases: the power is one wafer's, the speed beside it needs {several.chips}, which draw "
        f"{figure(needed / 1e3)} kW typical, {figure(needed / watts['typical'][1], 2)}x the node's",
        predicts=f"{several.chips} wafers against {count} {chip.name}, {energy}",
        figures=figures,
    )


def _watts(device: Envelope, chips: int, basis: Basis) -> float:
    drawn = power(device, chips, basis)
    if drawn is None:
        raise ValueError(f"the {basis} power of {device.name} must be known")
    return drawn.point


def _value(one: Quantity | None) -> float:
    if one is None:
        raise ValueError("a figure that a claim names must be in the machine's file")
    return one.value


def _source(one: Quantity | None) -> str:
    return f"{one.source}, {one.basis}" if one else "unknown"
