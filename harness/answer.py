"""How fast, how sure, what it draws and costs: the answer to one question about a model on a machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache

from ..kernels.formats import format_named
from ..kernels.model import Model, Step
from .calibrate.decode import calibration, evidence
from .calibrate.effects import Effect, prior_of
from .calibrate.engine import UNSTATED, VENDOR_ONLY, Engine, engine_named, engines_on, known_engine, runs_on
from .calibrate.interval import Z_80
from .calibrate.machines.term import platform_of
from .calibrate.situation import Situation
from .envelope import Envelope
from .errors import UsageError
from .foretell import Foretold, foretell
from .placement import Parallel, Placement, place
from .power import Basis, Power, power
from .ranges import Range
from .remarks import has_peak, remarks
from .workloads import StepCost, decode_step, step_cost

_WEIGHTS = (4096, 4096)
"""A matrix of usual size, over which the scales of a format are spread."""


@dataclass(frozen=True)
class Ask:
    """A question.

    Attributes:
        model: its shape.
        device: one chip.
        weight: format of the weights, for which the arithmetic peak is looked up.
        weight_bits, kv_bits: true bits per element, scales included.
        context: tokens attended to, the new one included.
        prompt: tokens of the prompt that the time to the first token is for.
        engine: the software; None for an engine of which nothing is known, or the vendor's where no other exists.
        devices: forced number of chips, None for the fewest that hold the model.
        parallel: forced way to use several chips.
        price: of one device and hour, in any currency.
    """

    model: Model
    device: Envelope
    weight: str = "bf16"
    weight_bits: float = 16.0
    kv_bits: float = 16.0
    context: int = 2048
    prompt: int = 1024
    engine: str | None = None
    devices: int | None = None
    parallel: Parallel = "auto"
    price: float | None = None


@dataclass(frozen=True)
class Energy:
    """Power on one basis and what a token takes of it.

    Attributes:
        basis: `typical` or `peak`; figures of one are never set against those of the other.
        watts: of all chips of the run.
        joules_per_token: watts over speed, both doubts together.
        scope, source: of the watts.
    """

    basis: Basis
    watts: Range
    joules_per_token: Range
    scope: str
    source: str


@dataclass(frozen=True)
class Answer:
    """What is said of a question. Low and high are 80 % intervals; no speed beats the physical floor.

    Attributes:
        ask: the question.
        refusal: why there are no figures; empty where there are.
        chips, how: the placement.
        needed_gb, capacity_gb: memory of the fullest chip, and of one chip.
        tokens_per_s: decode speed at batch 1.
        ttft_ms: time to the first token, the prompt's prefill and one step; None where no arithmetic peak is known, or the
            prompt's cache does not fit.
        ceiling_tokens_per_s: what the physical floor allows.
        bound: what most of a token's time goes to: `memory`, `compute`, `latency` or `link`.
        parts_us: of a token, by term.
        energy: typical, peak, or those of them that are known.
        cost_per_million: tokens, in the price's currency; None without a price.
        basis: `fitted`, `carried` or `specification`; of this machine, that its own kernels were fitted.
        engine: the software that the figures are for.
        doubts: input -> share of the variance that the interval is made of, largest first.
        notes: what a reader must know, and where the inputs come from.
        interval: what low and high are worth; empty where published speeds tell.
    """

    ask: Ask
    refusal: str = ""
    chips: int = 0
    how: str = ""
    needed_gb: float = 0.0
    capacity_gb: float = 0.0
    tokens_per_s: Range = field(default_factory=Range)
    ttft_ms: Range | None = None
    ceiling_tokens_per_s: float = 0.0
    bound: str = ""
    parts_us: Mapping[str, float] = field(default_factory=dict)
    energy: tuple[Energy, ...] = ()
    cost_per_million: Range | None = None
    basis: str = ""
    engine: str = ""
    doubts: Mapping[str, float] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    interval: str = ""

    @property
    def tpot_ms(self) -> Range:
        """Time per output token."""
        return self.tokens_per_s.under(1e3)


def true_bits(format: str, rows: tuple[int, int] = _WEIGHTS) -> float:
    """Bits per element of a matrix in a format, its scales counted."""
    return 8 * format_named(format).nbytes(rows) / math.prod(rows)


def answers(asks: Sequence[Ask]) -> list[Answer]:
    """One answer per question, all in one go; what cannot be placed is refused in its own answer.

    Raises:
        UsageError: if a model has no decode step, or an engine is not known.
    """
    placed: list[Placement | UsageError] = []
    for ask in asks:
        alone, activations_gb = situation(ask), _activations_gb(ask)
        try:
            _check_engine(alone.engine, ask)
            placed.append(place(alone, activations_gb, ask.devices, ask.parallel))
        except UsageError as error:
            placed.append(error)
    found = [one for one in placed if isinstance(one, Placement)]
    first = [_opening(ask, one) for ask, one in zip(asks, placed, strict=True) if isinstance(one, Placement)]
    told = foretell(calibration(), [one.run for one in found])
    opened = foretell(calibration(), first)
    results = iter(zip(found, told, opened, strict=True))
    return [
        Answer(ask, refusal=str(one)) if isinstance(one, UsageError) else _answer(ask, *next(results))
        for ask, one in zip(asks, placed, strict=True)
    ]


def _opening(ask: Ask, placement: Placement) -> Situation:
    """The run up to its first token, the prompt's prefill included."""
    return replace(placement.run, prompt=ask.prompt, generated=1, counts_prefill=True)


def situation(ask: Ask) -> Situation:
    """The question as a run on one chip, its cache holding the context."""
    return Situation(
        ask.device,
        1,
        engine_of(ask),
        ask.model,
        weight_bits=ask.weight_bits,
        kv_bits=ask.kv_bits,
        prompt=ask.context,
        generated=0,
        # A format that is asked for holds all matrices, as in `bench`.
        experts_only=False,
    )


def engine_of(ask: Ask) -> Engine:
    """The engine that is asked for; where none is, one of which nothing is known, or the only one that there is."""
    if ask.engine is not None:
        return known_engine(ask.engine, ask.device)
    return engine_named("provider", ask.device) if ask.device.kind in VENDOR_ONLY else Engine(UNSTATED)


def _check_engine(engine: Engine, ask: Ask) -> None:
    if not runs_on(engine, ask.device):
        known = ", ".join(engines_on(ask.device))
        raise UsageError(f"engine must be one that runs on {ask.device.name} ({known}); got {ask.engine!r}")


def _activations_gb(ask: Ask) -> float:
    return _cost(ask.model, ask.context).hot_bytes / 1e9


@cache
def _cost(model: Model, context: int) -> StepCost:
    return step_cost(decode_step(Step(model, context)))


def _answer(ask: Ask, placement: Placement, step: Foretold, first: Foretold) -> Answer:
    run = placement.run
    arithmetic_us = _cost(ask.model, ask.context).flops / (run.streams * ask.device.peak_flops(ask.weight)) * 1e6
    floor_us = max(run.floor_us, arithmetic_us, placement.link_floor_us)
    link = _link_us(placement)
    lack_gb = placement.lack_gb(_opening(ask, placement), _activations_gb(ask))
    time_us = step.time_us.plus(link).at_least(floor_us)
    parts = dict(step.parts_us) | ({"external link": link.point} if link.point else {})
    speed = time_us.under(1e6)
    memory_us = sum(parts.get(name, 0.0) for name in ("weights", "experts", "kv", "reading"))
    return Answer(
        ask,
        chips=run.chips,
        how=placement.how,
        needed_gb=placement.needed_gb,
        capacity_gb=placement.capacity_gb,
        tokens_per_s=speed,
        ttft_ms=first.time_us.plus(link).times(1e-3) if has_peak(ask.device) and not lack_gb else None,
        ceiling_tokens_per_s=1e6 / floor_us,
        bound=_bound(time_us.point, memory_us, arithmetic_us, link.point),
        parts_us=parts,
        energy=tuple(
            _energy(basis, drawn, speed)
            for basis in ("typical", "peak")
            if (drawn := power(ask.device, run.chips, basis)) is not None
        ),
        cost_per_million=None if ask.price is None else speed.under(ask.price * run.chips / 3600 * 1e6),
        basis=_basis(run, step, link.point > time_us.point / 2),
        engine=run.engine.name,
        doubts={"how well the external link is used": 1.0} if link.point > time_us.point / 2 else step.doubts,
        notes=remarks(ask, situation(ask), placement, lack_gb),
    )


def _link_us(placement: Placement) -> Range:
    """Time over the external link, as far from its peak as memories are believed to be before any evidence."""
    floor_us = placement.link_floor_us
    excess = prior_of(Effect("stream", "base"))
    ends = (excess.mean + sign * Z_80 * excess.sd for sign in (-1, 0, 1))
    return Range(*(floor_us * (1 + math.exp(end)) for end in ends))


def _bound(time_us: float, memory_us: float, arithmetic_us: float, link_us: float) -> str:
    if link_us > time_us / 2:
        return "link"
    if arithmetic_us > time_us / 2:
        return "compute"
    return "memory" if memory_us > time_us / 2 else "latency"


def _energy(basis: Basis, drawn: Power, speed: Range) -> Energy:
    watts = Range(drawn.low, drawn.point, drawn.high)
    return Energy(basis, watts, speed.under(1.0).jointly(watts), drawn.scope, drawn.source)


def _basis(run: Situation, step: Foretold, is_streamed: bool) -> str:
    """`fitted` on speeds of the machine, `carried` from others of its platform, else its specification."""
    if is_streamed:
        return "specification"
    if step.carried in ("fitted", "new engine"):
        return "fitted"
    return "carried" if platform_of(run) in {platform_of(one) for one in evidence().runs} else "specification"
