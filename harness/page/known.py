"""What is known from outside, as rows of the page: published speeds, measured kernels of other engines, machines, models."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Sequence
from importlib.resources import files
from statistics import median
from typing import Any

from ... import conf
from ...kernels.model import Model
from ..calibrate.decode import EVIDENCE
from ..calibrate.kernels import rows as measured
from ..calibrate.published import read, situation
from ..facts.catalogue import facts
from ..facts.devices import device_named
from ..facts.envelope import Envelope
from ..validation.published import Verdict, validate
from .kept import Row, plain, roof_lines

_COLLECTED = "2026-11"
"""When figures were collected whose source names no date of its own, as in `conf/device/`."""


def published() -> list[Row]:
    """Every published speed beside the prediction of a fit that has not seen it, and why where there is none."""
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        rows, bad = read(file)
    return judged(validate(rows, bad))


def judged(verdicts: Iterable[Verdict]) -> list[Row]:
    """The verdicts on the published speeds as rows."""
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        sources = {one["id"]: one for one in csv.DictReader(file)}
    return [_published(one, sources.get(one.id, {})) for one in verdicts]


def _published(one: Verdict, given: dict[str, str]) -> Row:
    row = one.row
    run = situation(row) if row is not None and one.is_predicted else None
    return {
        "from": f"published:{one.id}",
        "hardware": one.hardware,
        "kind": run.device.kind if run else "",
        "device": run.device.name if run else "",
        # A model that another stands in for is not that other.
        "model": run.model.name if run and run.size == 1.0 else "",
        "published_model": row.model if row else "",
        "engine": row.engine if row else "",
        "bits": plain(run.weight_bits) if run else None,
        "nominal_bits": _nominal(run.weight_bits) if run else None,
        "chips": run.chips if run else None,
        "published_context": row.context if row else "",
        "published": plain(one.tok_s),
        **({"low": plain(one.low), "predicted": plain(one.predicted), "high": plain(one.high)} if one.is_predicted else {}),
        "error": plain(one.error) if one.is_predicted else None,
        "inside": ("yes" if one.is_inside else "no") if one.is_predicted else "",
        "basis": one.basis,
        "reason": one.reason,
        "source": given.get("source", ""),
        "date": given.get("source_date", ""),
        "confidence": given.get("confidence", ""),
    }


def _nominal(bits: float) -> int:
    """16, 8 or 4: of whatever scales and mixtures of widths true bits are made."""
    return min((16, 8, 4), key=lambda one: abs(math.log(bits / one)))


def coverage(rows: Iterable[Row]) -> list[Row]:
    """Per hardware: how many predicted rows, how many of them in their interval, and how far off; most rows first."""
    by: dict[str, list[Row]] = {}
    for one in rows:
        if one["error"] is not None:
            by.setdefault(one["hardware"], []).append(one)
            by.setdefault("all", []).append(one)
    found = []
    for hardware, some in by.items():
        inside = sum(one["inside"] == "yes" for one in some)
        found.append(
            {"hardware": hardware, "rows": len(some), "inside": inside, "share": plain(inside / len(some)),
             "median_error": plain(median(abs(one["error"]) for one in some)), "from": "validation:"}
        )  # fmt: skip
    return sorted(found, key=lambda one: (-one["rows"], one["hardware"]))


def machines(envelopes: Sequence[Envelope]) -> dict[str, Any]:
    """Every figure of every machine with its source and date."""
    return {
        one.name: {
            "kind": one.kind,
            "note": one.note,
            "figures": [
                {"figure": name, "value": f"{figure.value:,.10g}", "basis": figure.basis, "source": figure.source,
                 "date": figure.date, "note": figure.note}
                for name, figure in one.quantities()
            ],
        }
        for one in envelopes
    }  # fmt: skip


def shapes(models: Sequence[Model]) -> dict[str, str]:
    """Where the shape of every model comes from."""
    return {one.name: str(facts("model", one.name).get("source", "")) for one in models}


def other_kernels() -> tuple[list[Row], list[Row]]:
    """Matrix-vector products that other engines were measured at on GPUs, and the roofs of those GPUs by specification.

    Only matrices larger than the chip's last cache: the roof is that of the memory, and a repeated call finds smaller ones
    in the cache.
    """
    found = measured.evidence()
    kernels: list[Row] = []
    lines: list[Row] = []
    for chip in sorted(set(found.chip.tolist())):
        device = device_named(chip)
        envelope = f"{device.name}, specification"
        cache_bytes = device.l2_mb.value * 1e6 if device.l2_mb else 0.0
        kernels += _kernels(found[(found.chip == chip) & (found.op == "gemv") & (found.bytes > cache_bytes)], envelope)
        peaks = {
            f"dense {name}": peak.value * 1e3 for name, peak in device.peak_tflops.items() if name in ("bf16", "fp8", "f32")
        }
        lines += roof_lines(envelope, {"memory read": device.main.bandwidth_gbs.value, **peaks}, f"device:{device.name}")
    return kernels, lines


def _kernels(some: measured.Rows, envelope: str) -> list[Row]:
    names = ("n", "k", "bytes", "latency_us", "dtype", "framework", "version")
    columns = (getattr(some, name).tolist() for name in names)
    return [
        {
            "from": f"kernel:{envelope}",
            "envelope": envelope,
            "op": "gemv",
            "kernel": f"gemv {n:.0f}x{k:.0f}",
            "code": f"{framework} {version}",
            "format": dtype,
            "status": "ok",
            "newest": True,
            "intensity": plain(2 * n * k / size),
            "gflops": plain(2 * n * k / latency_us / 1e3),
            "latency_us": plain(latency_us),
            # A product with one vector has an intensity far below any of these chips' ridges.
            "bound": "memory",
            "bandwidth_gbs": plain(size / latency_us / 1e3),
            "source": measured.SOURCE,
            "date": _COLLECTED,
        }
        for n, k, size, latency_us, dtype, framework, version in zip(*columns, strict=True)
    ]
