"""How fast, how sure, what it draws and costs: the answer to one question about a model on a machine."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import numpy as np
from jaxtyping import Float

from ...kernels.formats import format_named
from ...kernels.model import Model, Step
from ..calibrate.decode import Calibration, Evidence, informed
from ..calibrate.engine import UNSTATED, VENDORS_SERVICE, Engine, engine_named, engines_on, known_engine, runs_on
from ..calibrate.published import Published
from ..calibrate.ranges import Range
from ..calibrate.runs import Runs
from ..calibrate.situation import Situation
from ..errors import UsageError
from ..facts.envelope import Envelope
from ..facts.power import BASES, Basis, power
from ..steps.workloads import StepCost, decode_step, step_cost
from .outcome import Outcome, cost_per_million, outcome, watts
from .placement import Placement, places
from .placing import Parallel, cache_gb, memory_gb
from .remarks import remarks

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
    tokens_per_s: Range[float] = field(default_factory=lambda: Range(0.0, 0.0, 0.0))
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


def answers(asks: Sequence[Ask], imported: tuple[Published, ...] = (), *, remarked: bool = True) -> list[Answer]:
    """One answer per question, all in one go; what cannot be placed is refused in its own answer.

    Args:
        asks: the questions.
        imported: measured speeds that are evidence beside the project's own.
        remarked: whether the answers have their `notes`, which take longer to write than all figures.

    Raises:
        UsageError: if a model has no decode step, or an engine is not known.
    """
    placed = _placed(asks)
    kept = [(ask, one) for ask, one in zip(asks, placed, strict=True) if isinstance(one, Placement)]
    known, given = informed(imported)
    told = _told(kept, known, given, remarked) if kept else iter(())
    return [
        Answer(ask, refusal=str(one)) if isinstance(one, UsageError) else next(told)
        for ask, one in zip(asks, placed, strict=True)
    ]


def _placed(asks: Sequence[Ask]) -> list[Placement | UsageError]:
    """Where each question goes, or why nowhere."""
    found: dict[int, Placement | UsageError] = {}
    ways: dict[Parallel, list[tuple[int, Situation]]] = {}
    for at, ask in enumerate(asks):
        alone = situation(ask)
        try:
            check_engine(alone.engine, ask.device, ask.engine)
            ways.setdefault(ask.parallel, []).append((at, alone))
        except UsageError as error:
            found[at] = error
    for parallel, some in ways.items():
        activations = np.array([_activations_gb(asks[at]) for at, _ in some])
        given = places([alone for _, alone in some], activations, [asks[at].devices for at, _ in some], parallel)
        found |= dict(zip((at for at, _ in some), given, strict=True))
    return [found[at] for at in range(len(asks))]


def _told(kept: Sequence[tuple[Ask, Placement]], known: Evidence, given: Calibration, remarked: bool) -> Iterator[Answer]:
    runs = Runs.of([one.run for _, one in kept])
    prompt = np.array([float(ask.prompt) for ask, _ in kept])
    lack_gb = _lack_gb(kept, runs.opening(prompt))
    figures = outcome(
        runs,
        prompt=prompt,
        flops=np.array([float(cost_of(ask.model, ask.context).flops) for ask, _ in kept]),
        peak_flops=np.array([ask.device.peak_flops(ask.weight) for ask, _ in kept]),
        link_floor_us=np.array([one.link_floor_us for _, one in kept]),
        has_ttft=lack_gb == 0,
        known=known,
        given=given,
    )
    joules: dict[Basis, Range] = {basis: figures.joules_per_token(watts(runs, basis)) for basis in BASES}
    for at, (ask, placement) in enumerate(kept):
        notes = remarks(ask, situation(ask), placement, float(lack_gb[at]), known) if remarked else ()
        yield _answer(ask, placement, figures, joules, at, notes)


def _lack_gb(kept: Sequence[tuple[Ask, Placement]], opening: Runs) -> Float[np.ndarray, "runs"]:
    """Memory that the runs up to their first tokens, the prompts' prefill included, need beyond what the fullest chip has."""
    activations = np.array([_activations_gb(ask) for ask, _ in kept])
    is_streamed = np.array([one.streamed_bytes > 0 for _, one in kept])
    held = np.where(is_streamed, cache_gb(opening, activations), memory_gb(opening, activations))
    return np.maximum(0.0, held - np.array([one.capacity_gb for _, one in kept]))


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
    return engine_named("provider", ask.device) if ask.device.kind in VENDORS_SERVICE else Engine(UNSTATED)


def check_engine(engine: Engine, device: Envelope, asked: str | None) -> None:
    """Raises UsageError unless an engine exists for a machine; `asked` is how it was named."""
    if not runs_on(engine, device):
        known = ", ".join(engines_on(device))
        raise UsageError(f"engine must be one that runs on {device.name} ({known}); got {asked!r}")


def _activations_gb(ask: Ask) -> float:
    return cost_of(ask.model, ask.context).hot_bytes / 1e9


@cache
def cost_of(model: Model, context: int) -> StepCost:
    """What a token of the model costs at the least."""
    return step_cost(decode_step(Step(model, context)))


def _answer(
    ask: Ask, placement: Placement, figures: Outcome, joules: Mapping[Basis, Range], place: int, notes: tuple[str, ...]
) -> Answer:
    run, ttft = placement.run, figures.ttft_ms.of(place)
    is_linked = figures.is_linked(place)
    speed = figures.tokens_per_s.of(place)
    return Answer(
        ask,
        chips=run.chips,
        how=placement.how,
        needed_gb=placement.needed_gb,
        capacity_gb=placement.capacity_gb,
        tokens_per_s=speed,
        ttft_ms=None if math.isnan(ttft.point) else ttft,
        ceiling_tokens_per_s=1e6 / float(figures.floor_us[place]),
        bound=str(figures.bound[place]),
        parts_us=figures.parts_of(place),
        energy=tuple(
            Energy(basis, Range(one.low, one.point, one.high), joules[basis].of(place), one.scope, one.source)
            for basis in BASES
            if (one := power(ask.device, run.chips, basis)) is not None
        ),
        cost_per_million=None if ask.price is None else cost_per_million(speed, run.chips, ask.price),
        basis=str(figures.basis[place]),
        engine=run.engine.name,
        doubts={"how well the external link is used": 1.0} if is_linked else figures.step.doubts_of(place),
        notes=notes,
    )
