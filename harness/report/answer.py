"""An answer as tables for people, and as plain figures for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..calibrate.decode import calibration, evidence
from ..calibrate.ranges import Range
from ..predict.answer import Answer
from ..words import figure, percent
from . import table as drawn
from .output import as_csv, write_text
from .table import Column, Table

SUFFIXES = (".md", ".csv", ".json")


def tables(answers: Sequence[Answer], source: str) -> list[Table]:
    """One machine in full, or several with a line each.

    Args:
        answers: to one model's questions.
        source: of the model's shape, in words.
    """
    notes = [f"model: {source}", answers[0].interval or interval_note()]
    return [in_full(answers[0], notes), _breakdown(answers[0])] if len(answers) == 1 else [_lines(answers, notes)]


def interval_note() -> str:
    """What low and high are worth, as measured."""
    held = f"of {len(evidence().runs)} published speeds they held {percent(calibration().held)}"
    return (
        f"low and high are 80 % intervals: {held} where a fit had not seen the hardware and model (roofcast validate); "
        "no speed is above the physical ceiling"
    )


def write(answers: Sequence[Answer], source: str, path: Path) -> None:
    """Tables to `FILE.md`; every figure, one object or line per machine, to `FILE.json` or `FILE.csv`.

    Raises:
        UsageError: if the file cannot be written.
    """
    if path.suffix == ".md":
        drawn.write(tables(answers, source), path)
        return
    records = [record(one) for one in answers]
    write_text(json.dumps(records, indent=1) + "\n" if path.suffix == ".json" else _csv(records), path)


def record(one: Answer) -> dict[str, Any]:
    """Every figure under a name with its unit."""
    ask = one.ask
    asked: dict[str, Any] = {
        "model": ask.model.name,
        "device": ask.device.name,
        "weight_format": ask.weight,
        "weight_bits": ask.weight_bits,
        "kv_bits": ask.kv_bits,
        "context": ask.context,
        "prompt": ask.prompt,
        "refusal": one.refusal,
    }
    if one.refusal:
        return asked
    found: dict[str, Any] = {
        "engine": one.engine,
        "devices": one.chips,
        "placement": one.how,
        "memory_gb": one.needed_gb,
        "capacity_gb": one.capacity_gb,
        **_ends("tokens_per_s", one.tokens_per_s),
        "ceiling_tokens_per_s": one.ceiling_tokens_per_s,
        **_ends("tpot_ms", one.tpot_ms),
        **(_ends("ttft_ms", one.ttft_ms) if one.ttft_ms else {}),
    }
    for energy in one.energy:
        found |= _ends(f"power_{energy.basis}_w", energy.watts)
        found |= _ends(f"joules_per_token_{energy.basis}", energy.joules_per_token)
        found[f"power_{energy.basis}_of"] = f"{energy.scope}; {energy.source}"
    if one.cost_per_million is not None:
        found |= {"price_per_device_hour": ask.price, **_ends("cost_per_million_tokens", one.cost_per_million)}
    rest = {"parts_us": dict(one.parts_us), "doubts": dict(one.doubts), "notes": list(one.notes)}
    return asked | found | {"bound": one.bound, "basis": one.basis} | rest


def _ends(name: str, given: Range) -> dict[str, float]:
    return {name: given.point, f"{name}_low": given.low, f"{name}_high": given.high}


def _csv(records: Sequence[dict[str, Any]]) -> str:
    flat = [
        {
            key: "; ".join(f"{k} {v:.4g}" for k, v in value.items()) if isinstance(value, dict)
            else "; ".join(value) if isinstance(value, list)
            else f"{value:.6g}" if isinstance(value, float)
            else value
            for key, value in one.items()
        }
        for one in records
    ]  # fmt: skip
    return as_csv(flat, list(dict.fromkeys(key for one in flat for key in one)))


def in_full(one: Answer, notes: Sequence[str] = ()) -> Table:
    """Every figure of one answer with its interval, and below it what it rests on."""
    columns = [Column("figure", text=True), Column("unit", text=True), Column("low"), Column("point"), Column("high")]
    rows = [
        _row("decode", "tok/s", one.tokens_per_s),
        ["physical ceiling", "tok/s", "", figure(one.ceiling_tokens_per_s), ""],
        _row("time per output token", "ms", one.tpot_ms),
    ]
    if one.ttft_ms is not None:
        rows.append(_row(f"time to first token, prompt of {one.ask.prompt}", "ms", one.ttft_ms))
    for energy in one.energy:
        rows.append(_row(f"power, {energy.basis}: {energy.scope}", "W", energy.watts))
        rows.append(_row(f"energy, {energy.basis}", "J/token", energy.joules_per_token))
    if one.cost_per_million is not None:
        rows.append(_row(f"cost at {one.ask.price:g} per device-hour", "per million tokens", one.cost_per_million))
    rows.append(["memory, fullest device", "GB", "", figure(one.needed_gb), f"of {figure(one.capacity_gb)}"])
    known = {energy.basis for energy in one.energy}
    unknown = [f"no {basis} power is known of it" for basis in ("typical", "peak") if basis not in known]
    sources = [f"power, {energy.basis}: {energy.source}" for energy in one.energy]
    doubts = ", ".join(f"{name} {percent(share)}" for name, share in list(one.doubts.items())[:4])
    said = [
        f"{one.how}, engine {one.engine}; bound: {one.bound}; basis: {one.basis}",
        f"the interval comes from: {doubts}",
        *one.notes,
        *sources,
        *unknown,
        *notes,
    ]
    return Table(_title(one, f"{one.chips}x {one.ask.device.name}"), columns, rows, said)


def _breakdown(one: Answer) -> Table:
    total = sum(one.parts_us.values())
    columns = [Column("term", text=True), Column("time", "us"), Column("share", "%", bar=True)]
    return Table(
        "Where a token's time goes, at the point",
        columns,
        [[name, figure(time_us), f"{100 * time_us / total:.1f}"] for name, time_us in one.parts_us.items()],
    )


def _lines(answers: Sequence[Answer], notes: Sequence[str]) -> Table:
    has_price = any(one.cost_per_million is not None for one in answers)
    columns = [
        Column("machine", text=True),
        Column("placement", text=True, rank=3),
        Column("memory", "GB each", rank=8),
        Column("low", "tok/s"),
        Column("point", "tok/s"),
        Column("high", "tok/s"),
        Column("ceiling", "tok/s"),
        Column("TPOT", "ms", rank=4),
        Column("TTFT", "ms", rank=2),
        Column("typical", "W", rank=7),
        Column("typical", "J/token", rank=5),
        Column("peak", "W", rank=9),
        Column("peak", "J/token", rank=6),
        *([Column("cost", "per million", rank=1)] if has_price else []),
        Column("bound", text=True),
        Column("basis", text=True, rank=1),
    ]
    held = sorted((one for one in answers if not one.refusal), key=lambda one: -one.tokens_per_s.point)
    refused = [f"{one.ask.device.name}: {one.refusal}" for one in answers if one.refusal]
    return Table(_title(answers[0], "every machine"), columns, [_line(one, has_price) for one in held], [*refused, *notes])


def _line(one: Answer, has_price: bool) -> list[str]:
    speed = one.tokens_per_s
    by = {energy.basis: energy for energy in one.energy}
    drawn = [
        figure(value)
        for basis in ("typical", "peak")
        for value in ((by[basis].watts.point, by[basis].joules_per_token.point) if basis in by else (None, None))
    ]
    cost = [figure(one.cost_per_million.point if one.cost_per_million else None)] if has_price else []
    figures = [one.needed_gb, speed.low, speed.point, speed.high, one.ceiling_tokens_per_s, one.tpot_ms.point]
    first = figure(one.ttft_ms.point if one.ttft_ms else None)
    machine = f"{one.chips}x {one.ask.device.name}"
    return [machine, one.how, *map(figure, figures), first, *drawn, *cost, one.bound, one.basis]


def _title(one: Answer, machine: str) -> str:
    ask = one.ask
    return f"{ask.model.name} in {ask.weight}, batch 1, context {ask.context}, on {machine}"


def _row(name: str, unit: str, given: Range) -> list[str]:
    return [name, unit, figure(given.low), figure(given.point), figure(given.high)]
