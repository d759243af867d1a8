"""What a reader must know of an answer, and where its inputs come from, in sentences."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from ..calibrate.decode import Evidence, calibration, evidence, speeds
from ..calibrate.runs import Runs
from ..calibrate.situation import Situation
from ..facts.envelope import Envelope
from ..words import figure
from .placement import Placement, streamed

if TYPE_CHECKING:
    from .answer import Ask


def remarks(ask: Ask, alone: Situation, placement: Placement, lack_gb: float, known: Evidence) -> tuple[str, ...]:
    """Sentences: evidence, what streams, what lies beyond the evidence or the model, and the sources of the machine's figures.

    Args:
        ask: the question.
        alone: it as a run on one chip.
        placement: of it.
        lack_gb: memory that the prompt's cache would need beyond what the fullest chip has.
        known: the evidence, imported speeds included.
    """
    run, device = placement.run, ask.device
    notes = [_evidence_note(run, known), *_measured(run, known)]
    if placement.streamed_bytes:
        notes.append(
            f"does not fit {run.chips} x {placement.capacity_gb:g} GB: {placement.streamed_bytes / 1e9:,.1f} GB of weights "
            f"stream in for every token over {placement.link_gbs:g} GB/s: {1e6 / placement.link_floor_us:.3g} tok/s at most"
        )
    elif run.chips > 1 and (other := streamed(alone, 0.0)) is not None and device.kind == "wafer":
        notes.append(
            f"on one, weights would stream in for every token over {other.link_gbs:g} GB/s: "
            f"{1e6 / other.link_floor_us:.3g} tok/s at most"
        )
    notes.extend(_expert_parallel(run))
    most = max((one.chips for one in known.runs if one.device.kind == device.kind), default=0)
    if run.chips > max(most, 1):
        notes.append(f"{run.chips} devices are more than the {most} of any published run on a machine of this kind")
    for name, tokens in (("context", ask.context), ("prompt", ask.prompt)):
        if tokens > ask.model.max_context:
            notes.append(f"{name} {tokens} is beyond the {ask.model.max_context} that {ask.model.name} was made for")
    if run.engine.service:
        notes.append("the vendor's published speeds disclose neither batch nor placement; the interval allows for that")
    if lack_gb:
        notes.append(
            f"no time to the first token is given: the cache of a prompt of {ask.prompt} needs {lack_gb:,.3g} GB more than the "
            f"{placement.capacity_gb:g} GB of the fullest device; devices= gives it more of them"
        )
    elif has_peak(device):
        notes.append(
            "first token: the prompt's arithmetic at the dense f16 peak over an efficiency fitted to published GPU figures"
        )
    else:
        notes.append("no arithmetic peak is known of it, so no time to the first token is given")
    main = f"memories.{device.weights_in}"
    wanted = [f"{main}.bandwidth_gbs", f"{main}.capacity_gb", *(["external_link_gbs"] if placement.streamed_bytes else [])]
    for name, one in device.quantities():
        if name in wanted:
            notes.append(f"{name} {one.value:g}: {one.basis}, {one.source}" + (f"; {one.note}" if one.note else ""))
    return tuple(notes)


def _expert_parallel(run: Situation) -> Iterator[str]:
    if run.expert_parallel and (mixture := run.model.mixture):
        each, most = mixture.experts // run.chips, float(run.columns.expert_share[0]) * mixture.top_k
        yield (
            f"expert parallel: attention and all that is no routed expert on every device, {each} whole experts a layer on "
            f"each; of a token's {mixture.top_k} the busiest device reads {most:.3g}, if all are as likely"
        )
        yield "no published speed is of such a placement: all-to-alls are taken to last as long as all-reduces, unfitted"


def _measured(run: Situation, known: Evidence) -> Iterator[str]:
    """Imported speeds of the model on so many of the machine, each with what the published ones alone foretell of it."""
    own = len(evidence().rows)
    for row, one in zip(known.rows[own:], known.runs[own:], strict=True):
        if (one.device.name, one.model, one.chips) == (run.device.name, run.model, run.chips):
            alone = speeds(calibration(), Runs.of([one]))
            low, point, high = (figure(float(end[0])) for end in (alone.low, alone.point, alone.high))
            yield (
                f"measured ({row.id}): {figure(row.tok_s)} tok/s with {one.engine.name}, {one.weight_bits:.3g} bits a weight, "
                f"{row.context or 'no context stated'}; for that, published speeds alone give {point} ({low} to {high})"
            )


def _evidence_note(run: Situation, known: Evidence) -> str:
    runs = known.runs
    imported = len(runs) - len(evidence().runs)
    same = [one for one in runs if one.device.name == run.device.name]
    by = sum(one.engine.name == run.engine.name for one in same)
    speeds_there = f"{len(runs) - imported} published speeds" + (f" and {imported} imported" if imported else "")
    return f"evidence: {speeds_there}, {len(same)} of them on {run.device.name}, {by} with this engine"


def has_peak(device: Envelope) -> bool:
    """Whether an arithmetic peak is known, without which nothing can be said of a prompt."""
    return math.isfinite(device.peak_flops("f16"))
