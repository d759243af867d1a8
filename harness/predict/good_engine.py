"""`engine=good`: what a good engine reaches, from all those that were measured on the machine's platform."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from ..calibrate.decode import informed
from ..calibrate.engine import engines_on
from ..calibrate.interval import Z_80
from ..calibrate.published import Published
from ..calibrate.ranges import Range
from ..facts.envelope import Envelope
from .answer import Answer, Ask, answers

GOOD = "good"
"""What to ask for."""

_QUANTILES = np.array([NormalDist().inv_cdf((step + 0.5) / 200) for step in range(200)])


def good_answers(asks: Sequence[Ask], imported: tuple[Published, ...] = ()) -> list[Answer]:
    """One answer per question, for an engine of which only that is known that it is good.

    Good is the faster half of the engines that were measured on machines of the same platform, each as likely as the others:
    the interval holds 80 % of the mixture of what is foretold of them. Where one of them must stand for all, as in what a
    token's time goes to, it is the one nearest to the mixture's median.

    Args:
        asks: the questions, whatever engine they name.
        imported: measured speeds that are evidence beside the project's own.

    Raises:
        UsageError: if a model has no decode step.
    """
    runs = informed(imported)[0].runs
    seen = {(_platform(run.device), run.engine.name) for run in runs}
    named = [[name for name in engines_on(ask.device) if (_platform(ask.device), name) in seen] for ask in asks]
    each = [replace(ask, engine=name) for ask, names in zip(asks, named, strict=True) for name in names]
    found = iter(answers(each, imported))
    return [_joined(ask, [next(found) for _ in names]) for ask, names in zip(asks, named, strict=True)]


def _platform(device: Envelope) -> str:
    return device.platform or device.kind


def _joined(ask: Ask, found: Sequence[Answer]) -> Answer:
    if not found:
        return Answer(
            ask, refusal=f"engine must not be {GOOD} on {ask.device.name}: no engine has been measured on its platform"
        )
    held = [one for one in found if not one.refusal]
    if not held:
        return replace(found[0], ask=ask)
    # An engine that needs more devices, for it leaves more at 16 bits, answers another question.
    least = min(one.chips for one in held)
    ranked = sorted((one for one in held if one.chips == least), key=lambda one: -one.tokens_per_s.point)
    better = ranked[: math.ceil(len(ranked) / 2)]
    ceiling = max(one.ceiling_tokens_per_s for one in better)
    mixed = mixture([one.tokens_per_s for one in better])
    speed = Range(*(min(end, ceiling) for end in (mixed.low, mixed.point, mixed.high)))
    near = min(better, key=lambda one: abs(math.log(one.tokens_per_s.point / speed.point)))
    slower = near.tokens_per_s.point / speed.point
    firsts = [one.ttft_ms for one in better if one.ttft_ms is not None]
    names = ", ".join(one.engine for one in better)
    note = f"good: the faster half of the {len(ranked)} engines measured on its platform: {names}; nearest: {near.engine}"
    return replace(
        near,
        ask=ask,
        engine=GOOD,
        tokens_per_s=speed,
        ttft_ms=mixture(firsts) if firsts else None,
        ceiling_tokens_per_s=ceiling,
        parts_us={name: time_us * slower for name, time_us in near.parts_us.items()},
        energy=tuple(replace(one, joules_per_token=speed.under(1.0).jointly(one.watts)) for one in near.energy),
        cost_per_million=None if ask.price is None else speed.under(ask.price * least / 3600 * 1e6),
        doubts=_doubts(near.doubts, [one.tokens_per_s for one in better]),
        notes=(note, *near.notes),
    )


def mixture(ranges: Sequence[Range]) -> Range:
    """Median and 80 % interval of what is any of some figures, all as likely, each log-normal above and below its point."""
    drawn = []
    for one in ranges:
        down, up = (math.log(ratio) / Z_80 for ratio in (one.point / one.low, one.high / one.point))
        drawn.append(one.point * np.exp(_QUANTILES * np.where(_QUANTILES < 0, down, up)))
    return Range(*map(float, np.quantile(np.concatenate(drawn), [0.1, 0.5, 0.9])))


def _doubts(within: Mapping[str, float], ranges: Sequence[Range]) -> Mapping[str, float]:
    """Shares of the variance: that between the engines, and those within one."""
    between = float(np.var([math.log(one.point) for one in ranges]))
    inside = float(np.mean([(math.log(one.high / one.low) / (2 * Z_80)) ** 2 for one in ranges]))
    share = between / (between + inside)
    total = sum(within.values())
    found = {"which of the good engines": share} | {name: part / total * (1 - share) for name, part in within.items()}
    return dict(sorted(((name, part) for name, part in found.items() if part > 0.005), key=lambda one: -one[1]))
