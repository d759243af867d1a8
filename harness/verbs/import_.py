"""`roofcast import`: decode speeds that other tools measured become evidence. Measures nothing, imports no JAX."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

from omegaconf import DictConfig

from ..calibrate.decode import calibration, speeds
from ..calibrate.published import situation
from ..calibrate.runs import Runs
from ..errors import UsageError
from ..facts.catalogue import names
from ..importing import shelf
from ..importing.documents import entries
from ..importing.rows import Outcome, outcomes
from ..predict.answer import true_bits
from ..report.table import Column, Table, show
from ..store.record import utc_now
from ..words import figure, percent


def run(config: DictConfig) -> int:
    """Imports each file and shows what became of it. Returns 1 if something in them could not be taken, 0 otherwise.

    Raises:
        UsageError: if a key is out of range, or a file cannot be read.
    """
    if not config.files:
        raise UsageError("files must name at least one file, as in roofcast import FILE; got none")
    given = _given(config)
    contents = {name: _content(name) for name in config.files}
    refused = 0
    for name, content in contents.items():
        found = list(outcomes(entries(content), given))
        refused += sum(one.row is None and not one.is_left_out for one in found)
        kept = ""
        if any(one.row for one in found):
            digest = hashlib.sha256(content.encode()).hexdigest()
            path = shelf.keep(found, Path(config.results), source=Path(name).name, sha256=digest, imported_at=utc_now())
            kept = f" in {path}"
        show(_table(name, found))
        rows, left_out = sum(one.row is not None for one in found), sum(one.is_left_out for one in found)
        print(f"  {rows} kept{kept}, {left_out} left out, {len(found) - rows - left_out} refused")
    return int(refused > 0)


def _given(config: DictConfig) -> Mapping[str, str]:
    """Columns that the command line fills, as texts."""
    for name in ("devices", "input_len", "output_len", "tokens"):
        if config[name] is not None and config[name] < 1:
            raise UsageError(f"{name} must be a whole number from 1; got {config[name]}")
    for name in ("weight_bits", "kv_bits"):
        if config[name] is not None and not 1 <= config[name] <= 64:
            raise UsageError(f"{name} must be from 1 to 64; got {config[name]:g}")
    if config.date is not None and not re.fullmatch(r"\d{4}(-\d\d){0,2}", config.date):
        raise UsageError(f"date must be a year, month or day, such as 2026-11-22; got {config.date!r}")
    bits = {"weight_bits": config.weight_bits, "kv_bits": config.kv_bits}
    if config.format is not None:
        stated = {"weight_bits": true_bits(config.format.weight), "kv_bits": true_bits(config.format.kv, (1, 128))}
        bits = {name: stated[name] if value is None else value for name, value in bits.items()}
    told = {name: "" if value is None else f"{value:.6g}" for name, value in bits.items()}
    told |= {name: str(config[name] or "") for name in ("engine", "input_len", "output_len", "tokens")}
    told |= {"n_chips": str(config.devices or ""), "source_date": config.date or ""}
    return told | {"model": _entry(config, "model"), "hardware": _entry(config, "device")}


def _entry(config: DictConfig, group: str) -> str:
    """The name of a group's entry; what is imported must be there for whoever reads it later, so no file of one's own does."""
    if config[group] is None:
        return ""
    name = str(config[group].get("name", ""))
    if name not in names(group):
        raise UsageError(f"{group} must be a file in conf/{group} or one of their aliases for an import; got {name!r}")
    return name


def _content(name: str) -> str:
    try:
        return Path(name).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"files must be readable text; got {name!r}: {error}") from None


def _table(name: str, found: list[Outcome]) -> Table:
    """What was taken, beside what published speeds alone foretell of it; and what was not, with its reason."""
    columns = [Column(text, text=True) for text in ("model", "machine", "engine", "tool")]
    columns += [Column("bits", "a weight"), Column("context"), Column("measured", "tok/s")]
    columns += [Column("low", "tok/s"), Column("point", "tok/s"), Column("high", "tok/s"), Column("error")]
    taken = [(one.tool, one.row, situation(one.row)) for one in found if one.row]
    foretold = speeds(calibration(), Runs.of([run for _, _, run in taken]))
    body = [
        [
            row.model,
            f"{run.chips}x {row.hardware}",
            run.engine.name,
            tool,
            f"{run.weight_bits:.3g}",
            row.context or "-",
            figure(row.tok_s),
            *(figure(float(ends[place])) for ends in (foretold.low, foretold.point, foretold.high)),
            percent(float(foretold.point[place]) / row.tok_s - 1),
        ]
        for place, (tool, row, run) in enumerate(taken)
    ]
    notes = [
        f"{one.place + ': ' if one.place else ''}{'left out: ' if one.is_left_out else ''}{one.reason}"
        for one in found
        if one.row is None
    ]
    return Table(f"Imported from {name}, beside what published speeds foretell", columns, body, notes)
