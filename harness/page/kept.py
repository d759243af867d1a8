"""What the store keeps, as rows of the page: measurements, and the roofs of the machines they were taken on."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..config.registration import measured_ops
from ..history.verdicts import verdicts
from ..store.store import Report, Store

Row = Mapping[str, Any]

_QUERY = """
SELECT record_id, started_at, host_key, machine_key, cpu_model, backend, device_kind, op, label, axes, implementation,
    role, model, context, weight_format, kv_format, count_per_token, flops, bytes_read + bytes_written AS bytes, status, reason,
    latency_us, latency_low_us, latency_high_us, bandwidth_gbs, fraction_of_ceiling, fraction_low, fraction_high, bound,
    floor_us, disturbance, read_gbs, multiply_add_gflops, matmul_gflops, residency, timer, method, stop_reason,
    len(samples_us) AS samples, git_commit, git_dirty, overrides, jax_version, run_id,
    row_number() OVER (
        PARTITION BY host_key, op, axes, implementation, residency ORDER BY started_at DESC, record_id) = 1 AS newest,
    row_number() OVER (
        PARTITION BY host_key, op, axes, implementation, residency, model, context, weight_format, kv_format
        ORDER BY started_at DESC, record_id) = 1 AS newest_in_step
FROM records ORDER BY started_at, record_id
"""
_STEP = "step"
_JUDGED = ("machine_key", "git_commit", "git_dirty", "label", "implementation", "residency")
"""What a measurement must share with a verdict of the gate for the verdict to be of the same code on the same machine."""
_ROOF_ENDS = (0.05, 500.0)
"""Arithmetic intensities, FLOP per byte, between which a decode step's kernels lie."""


def kept(store: Store) -> Report[Row]:
    """Every measurement of a kernel or a whole step, oldest first; none where the store is not there yet."""
    if not store.is_there:
        return Report([])
    report, place = store.query(_QUERY), verdicts(str(store.folder))
    said = place.read("quantity = 'latency'") if place.is_there else Report([])
    words = {
        (one.host.machine_key, one.head_commit, False, one.label, one.implementation, one.residency): one.words
        for one in said.found
    }
    wanted = {*measured_ops(), _STEP}
    rows: list[Row] = [
        {**_row(one), "gate": words.get(tuple(one[name] for name in _JUDGED), "")}
        for one in report.found
        if one["op"] in wanted
    ]
    return Report(rows, (*report.unreadable, *said.unreadable))


def _row(one: Mapping[str, Any]) -> Row:
    latency_us = one["latency_us"]
    rates = [_per_us(one["flops"], one[name]) for name in ("latency_high_us", "latency_us", "latency_low_us")]
    return {
        "from": f"record:{one['record_id']}",
        "date": one["started_at"],
        "envelope": envelope(one),
        "op": one["op"],
        "kernel": one["label"],
        "series": f"{one['label']}, {one['implementation']}, {one['residency'] or 'not timed'}",
        "code": one["implementation"],
        "role": one["role"],
        "model": one["model"],
        "context": one["context"],
        "format": one["weight_format"],
        "kv_format": one["kv_format"],
        "count": one["count_per_token"],
        "status": one["status"],
        "reason": one["reason"],
        "newest": one["newest"],
        "newest_in_step": one["newest_in_step"],
        "intensity": plain(one["flops"] / one["bytes"]) if one["flops"] and one["bytes"] else None,
        "gflops_low": rates[0],
        "gflops": rates[1],
        "gflops_high": rates[2],
        "latency_low_us": plain(one["latency_low_us"]),
        "latency_us": plain(latency_us),
        "latency_high_us": plain(one["latency_high_us"]),
        "bandwidth_gbs": plain(one["bandwidth_gbs"]),
        "fraction_low": plain(one["fraction_low"]),
        "fraction": plain(one["fraction_of_ceiling"]),
        "fraction_high": plain(one["fraction_high"]),
        "bound": one["bound"],
        "floor_us": plain(one["floor_us"]),
        "disturbance": plain(one["disturbance"]),
        "residency": one["residency"],
        "timer": one["timer"],
        "method": one["method"],
        "stop_reason": one["stop_reason"],
        "samples": one["samples"],
        "commit": one["git_commit"] + (" with changes" if one["git_dirty"] else ""),
        "overrides": one["overrides"],
        "jax": one["jax_version"],
        "roofs": {"memory read": plain(_memory_gbs(one)), "multiply-add f32": plain(one["multiply_add_gflops"])}
        | {f"matmul {name}": plain(rate) for name, rate in dict(one["matmul_gflops"] or {}).items()}
        if one["read_gbs"]
        else {},
    }


def roofs(rows: Iterable[Row]) -> list[Row]:
    """Lines of every machine's ceilings: memory up to the fastest arithmetic, each arithmetic from where it binds.

    The largest of all runs: what a machine can do at the most does not fall while its neighbours are busy.
    """
    most: dict[str, dict[str, float]] = {}
    origin: dict[str, str] = {}
    for one in rows:
        known = most.setdefault(one["envelope"], {})
        for name, rate in one["roofs"].items():
            if rate and rate > known.get(name, 0.0):
                known[name] = rate
                origin[one["envelope"]] = one["from"]
    return [line for name, rates in most.items() if rates for line in roof_lines(name, rates, origin[name])]


def roof_lines(envelope: str, rates: Mapping[str, float], origin: str) -> list[Row]:
    """Two points per roof, in FLOP per byte and GFLOP/s, from `memory read` in GB/s and the others in GFLOP/s."""
    memory = rates.get("memory read")
    arithmetic = {name: rate for name, rate in rates.items() if name != "memory read" and rate}
    if not memory or not arithmetic:
        return []
    first, last = _ROOF_ENDS
    lines = [
        ("memory read", first, first * memory),
        ("memory read", ridge := max(arithmetic.values()) / memory, ridge * memory),
    ]
    for name, rate in arithmetic.items():
        lines += [(name, rate / memory, rate), (name, max(last, 2 * ridge), rate)]
    return [
        {"envelope": envelope, "roof": name, "intensity": plain(x), "gflops": plain(y), "from": origin} for name, x, y in lines
    ]


def measured_steps(rows: Sequence[Row]) -> list[Row]:
    """Where a token's time goes on the machines that measured a step: the newest kernels, each as often as it is needed.

    The newest of that step: steps share kernels, which one that was measured later does not take from the others. Of several
    implementations the fastest counts, as in `roofcast table`.
    """
    steps: dict[tuple[str, ...], dict[tuple[str, str], Row]] = defaultdict(dict)
    for one in rows:
        if one["latency_us"] and one["count"] and one["newest_in_step"] and one["residency"] == "cold" and one["op"] != _STEP:
            step = steps[one["envelope"], one["model"], one["format"], one["context"]]
            key = (one["role"], one["kernel"])
            if key not in step or one["latency_us"] < step[key]["latency_us"]:
                step[key] = one
    found: list[Row] = []
    for (envelope, model, format, context), kernels in steps.items():
        parts: dict[str, float] = defaultdict(float)
        for one in kernels.values():
            parts[one["op"]] += one["latency_us"] * one["count"]
        origin = next(iter(kernels.values()))["from"]
        found += falls(parts, {"envelope": envelope, "step": f"{model} in {format}, context {context}", "from": origin})
    return found


def falls(parts: Mapping[str, float], given: Row) -> list[Row]:
    """A waterfall: each part from where the one before it ended, then the whole; microseconds in, milliseconds out."""
    rows: list[Row] = []
    start = 0.0
    total = sum(parts.values())
    for name, time_us in parts.items():
        rows.append({**given, "term": name, **_fall(start, start + time_us, total)})
        start += time_us
    return [*rows, {**given, "term": "whole token", **_fall(0.0, total, total)}]


def _fall(start_us: float, end_us: float, total_us: float) -> dict[str, Any]:
    time_us = end_us - start_us
    return {
        "start_ms": plain(start_us / 1e3),
        "end_ms": plain(end_us / 1e3),
        "time_us": plain(time_us),
        "share": plain(time_us / total_us),
    }


def plain(value: float | None) -> float | None:
    """A figure to six digits, which no plot tells from the whole; None where there is no finite one."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None


def _memory_gbs(one: Mapping[str, Any]) -> float:
    """The memory's ceiling: as it was taken for the run, or as the probes beside a kernel that memory binds had it."""
    # The floor of what may have come from a cache is that of the fastest.
    is_told = one["fraction_of_ceiling"] is not None
    is_from_memory = is_told and one["bound"] == "memory" and one["residency"] == "cold"
    return max(one["read_gbs"], one["bytes"] / one["floor_us"] / 1e3 if is_from_memory else 0.0)


def envelope(one: Mapping[str, Any]) -> str:
    """The machine as people call it, and the beginning of what tells it from others of its kind."""
    name = one["cpu_model"] if one["backend"] in ("", "cpu") else one["device_kind"]
    return f"{name or one['backend']} ({one['host_key'][:6]})"


def _per_us(flops: float, time_us: float | None) -> float | None:
    return plain(flops / time_us / 1e3) if flops and time_us and math.isfinite(time_us) else None
