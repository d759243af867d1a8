"""How fast a model runs on this machine, by the fits of its own kernels: no call of the model need have been measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from ...kernels.formats import format_names
from ...kernels.model import Formats, Step
from ..calibrate.evidence import envelope_of
from ..calibrate.own.calibration import Own, StepTime, step_time
from ..calibrate.own.evidence import Conditions, usual
from ..calibrate.ranges import Range
from ..errors import UsageError
from ..facts.envelope import Envelope
from ..host.host import fingerprint
from ..steps.workloads import decode_step, resident_bytes
from ..store.recall import kernels_of, own
from ..store.record import Measurement
from ..store.store import Report, Store
from .answer import Answer, Ask

BASIS = "fitted on this machine's kernels"

SPECIFICATION = "specification"
"""The basis of an answer for a machine that nothing was measured of."""

_MOST_UNMEASURED = 0.05
"""Share of a step that may go to kinds of kernels that nobody measured here."""


def any_kernels(results: str) -> list[Measurement]:
    """The kernels that a store holds of this machine, if it holds any and can be read."""
    folder = Path(results)
    return kernels_of(own(Store(folder), fingerprint().machine_key).found) if folder.is_dir() else []


def records_of(results: str) -> list[Measurement]:
    """The kernels that a store holds of this machine.

    Raises:
        UsageError: if there are none, or a file of the store cannot be read.
    """
    folder = Path(results)
    report = own(Store(folder), fingerprint().machine_key) if folder.exists() else Report[Measurement]([])
    if report.complaint:
        raise UsageError(report.complaint)
    found = kernels_of(report.found)
    if not found:
        raise UsageError(f"results must hold kernels of this machine; {results!r} has none: run roofcast bench first")
    return found


def machine(kernels: Sequence[Measurement]) -> Envelope:
    """The envelope of this machine, as its last measurement has it."""
    newest = max(kernels, key=lambda one: one.started_at)
    if newest.ceilings is None:
        raise ValueError(f"{newest.subject.label} has no ceilings")
    return envelope_of(newest.ceilings, newest.host, newest.started_at)


def answer_here(ask: Ask, formats: Formats, kernels: Sequence[Measurement]) -> Answer:
    """The answer for this machine.

    Args:
        ask: the question; its device is this machine.
        formats: of weights, cache and activations.
        kernels: that were measured on it.

    Raises:
        UsageError: if too little was measured; names the command that measures it.
    """
    needs = decode_step(Step(ask.model, ask.context, formats))
    needed_gb, capacity_gb = resident_bytes(needs) / 1e9, ask.device.capacity_gb or 0.0
    if needed_gb > capacity_gb:
        return Answer(ask, f"does not fit: {needed_gb:.1f} GB in {capacity_gb:.1f} GB")
    known = Own.of(kernels)
    now, drift = usual(kernels)
    found = step_time(known, needs, now, drift)
    if found.unmeasured_share > _MOST_UNMEASURED:
        missing = ", ".join(found.unmeasured)
        raise UsageError(f"results must hold {missing} of this machine, and have none: run {_command(ask, formats)} first")
    speed = found.time_us.under(1e6)
    return Answer(
        ask,
        chips=1,
        how="one program",
        needed_gb=needed_gb,
        capacity_gb=capacity_gb,
        tokens_per_s=speed,
        ceiling_tokens_per_s=1e6 / found.floor_us,
        bound=found.bound,
        parts_us=found.parts_us,
        cost_per_million=None if ask.price is None else speed.under(ask.price / 3600 * 1e6),
        basis=BASIS,
        engine="roofcast",
        doubts=found.doubts,
        interval="low and high are 80 % intervals by the doubts above",
        notes=_notes(known, found, now, drift),
    )


def widened(answers: Sequence[Answer], formats: Formats, kernels: Sequence[Measurement]) -> list[Answer]:
    """Answers, the intervals of those that rest on a specification alone widened by what this machine's kernels reach.

    Where nothing was measured of a machine, its software may reach the share of its memory's speed that engines reach on
    others, or the one that ours reaches here: the interval holds both.

    Args:
        answers: to questions about one model.
        formats: of weights, cache and activations.
        kernels: that were measured on this machine.
    """
    known, (now, _) = Own.of(kernels), usual(kernels)
    return [_widened(one, known, now, formats) if one.basis == SPECIFICATION else one for one in answers]


def _widened(answer: Answer, known: Own, now: Conditions, formats: Formats) -> Answer:
    ask = answer.ask
    found = step_time(known, decode_step(Step(ask.model, ask.context, formats)), now)
    if found.unmeasured_share > _MOST_UNMEASURED:
        return answer
    ours = answer.ceiling_tokens_per_s * found.reach
    speed = Range(min(answer.tokens_per_s.low, ours), answer.tokens_per_s.point, max(answer.tokens_per_s.high, ours))
    note = (
        f"this machine's kernels reach {found.reach:.0%} of its memory's speed in such a step; that share of the ceiling, "
        f"{ours:.3g} tok/s, is held by the interval"
    )
    return replace(
        answer,
        tokens_per_s=speed,
        energy=tuple(replace(one, joules_per_token=speed.under(1.0).jointly(one.watts)) for one in answer.energy),
        cost_per_million=None if ask.price is None else speed.under(ask.price * answer.chips / 3600 * 1e6),
        notes=(*answer.notes, note),
    )


def _notes(known: Own, found: StepTime, now: Conditions, drift: float) -> tuple[str, ...]:
    records = known.rows.records
    runs, days = {one.run.run_id for one in records}, sorted(one.started_at[:10] for one in records)
    when = " to ".join(dict.fromkeys((days[0], days[-1])))
    code = dict.fromkeys(one.run.git_commit[:12] or one.run.roofcast_version for one in records)
    notes = [
        f"evidence: {len(records)} measurements of kernels in {len(runs)} runs, {when}, "
        f"on {records[-1].host.cpu_model or 'this machine'}, code {', '.join(code)}",
        f"at the usual speed beside those measurements: plain reads of {now.read_gbs:.3g} GB/s, which drift by {drift:.0%}, "
        f"multiply-adds at {now.gflops:.3g} GFLOP/s, {now.dispatch_us:.3g} us for an empty call",
        "roofcast validate steps=own sets such predictions beside whole steps that were measured here",
        "no time to the first token: only decode steps are fitted",
    ]
    if found.unmeasured:
        notes.insert(1, f"not measured here, so from what is typical: {', '.join(found.unmeasured)}")
    return tuple(notes)


def _command(ask: Ask, formats: Formats) -> str:
    command = f"roofcast bench model={ask.model.name} format={formats.weight}"
    usual_kv = formats.weight if formats.weight in format_names("kv") else "bf16"
    return command if formats.kv == usual_kv else f"{command} format.kv={formats.kv}"
