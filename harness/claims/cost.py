"""The claim about cost: what the prices would have to be, since speed and power are all that physics knows."""

from __future__ import annotations

from ..calibrate.ranges import Range
from ..facts.devices import device_named
from ..facts.models import model_named
from ..predict.answer import Answer, answers
from .finding import Finding, Given, ask, said


def cost(given: Given) -> Finding:
    """Break-even prices: how many device-hours of the other kind one wafer-hour may cost at most."""
    model, wafer = model_named(given["model"]), device_named(given["wafer"])
    others = [device_named(name) for name in given["devices"]]
    ours, *theirs = answers([ask(model, wafer, 16), *(ask(model, other, 16) for other in others)])
    even = {one.ask.device.name: _break_even(ours, one) for one in theirs}
    figures = {f"break_even_{name}_hours": ratio.point for name, ratio in even.items()}
    prices = ", ".join(f"{said(ratio, f'{name}-hours')}" for name, ratio in even.items())
    energy = "; ".join(
        f"{mine.basis}: {said(mine.joules_per_token, 'J/token')} against {said(his.joules_per_token, 'J/token')} "
        f"on {one.chips}x {name}"
        for name, one in zip(even, theirs, strict=True)
        for mine in ours.energy
        for his in one.energy
        if mine.basis == his.basis
    )
    return Finding(
        "speed and power do not set a price; energy a token and the price at which both cost the same can be computed",
        "not decidable without prices, and no price is stated",
        predicts=f"{model.name} at 16 bits, batch 1, {ours.chips} wafers. {energy}",
        least=f"a wafer-hour that costs less than {prices}, where each machine serves one request at a time",
        figures=figures,
    )


def _break_even(ours: Answer, other: Answer) -> Range:
    """Price of our device-hour in theirs at which a token costs the same: speed per device over speed per device."""
    inverse = Range(*(1 / end for end in (other.tokens_per_s.high, other.tokens_per_s.point, other.tokens_per_s.low)))
    return ours.tokens_per_s.jointly(inverse).times(other.chips / ours.chips)
