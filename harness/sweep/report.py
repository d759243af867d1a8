"""The one table that a sweep ends in: a row per measurement, or per job that came to none, and how to repeat it."""

from __future__ import annotations

import shutil
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil

from ..files import parquet
from ..report.output import written
from ..report.table import Column, Table, show, write
from ..store.store import Store
from ..words import counted, figure, percent, span
from .ledger import Job
from .outcome import Outcome

SUFFIXES = (".md", ".csv", ".parquet")

_JOB = {"job": "VARCHAR", "skipped": "BOOLEAN"}
_MEASURED = {
    "status": "VARCHAR",
    "reason": "VARCHAR",
    "model": "VARCHAR",
    "context": "BIGINT",
    "weight_format": "VARCHAR",
    "kv_format": "VARCHAR",
    "op": "VARCHAR",
    "role": "VARCHAR",
    "label": "VARCHAR",
    "implementation": "VARCHAR",
    "latency_us": "DOUBLE",
    "latency_low_us": "DOUBLE",
    "latency_high_us": "DOUBLE",
    "bandwidth_gbs": "DOUBLE",
    "fraction_of_ceiling": "DOUBLE",
    "fraction_low": "DOUBLE",
    "fraction_high": "DOUBLE",
    "bound": "VARCHAR",
    "floor_us": "DOUBLE",
    "precision_reached": "DOUBLE",
    "disturbance": "DOUBLE",
    "error": "DOUBLE",
    "lower_s": "DOUBLE",
    "compile_s": "DOUBLE",
    "compile_cache": "VARCHAR",
    "programs_s": "DOUBLE",
    "sampling_s": "DOUBLE",
    "probed_at": "VARCHAR",
    "host_key": "VARCHAR",
    "run_id": "VARCHAR",
    "record_id": "VARCHAR",
    "started_at": "VARCHAR",
}
_ROW = _JOB | _MEASURED | {"reproduce": "VARCHAR"}
"""Column -> SQL type; those of a measurement are called as in the store."""
_OF_A_STEP = {"model": "model", "context": "context", "weight_format": "weights", "kv_format": "KV cache"}
"""Column -> its heading, where it is shown."""


def tell(outcomes: Sequence[Outcome], store: Store, folder: Path, output: Path | None) -> int:
    """Shows a sweep's table and what failed in it, and writes both forms of the table to its folder.

    Args:
        outcomes: of every job, in order.
        store: that has the measurements.
        folder: of the sweep.
        output: where to write the table as well.

    Returns:
        The largest exit code of a job.
    """
    rows = list(_rows(outcomes, store))
    files = {suffix: folder / f"table{suffix}" for suffix in (".csv", ".parquet")}
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, file in files.items():
        parquet.write_rows(rows, _ROW, file, form=suffix[1:])
    tables = [_measurements(rows), *_failures(outcomes, rows)]
    for table in tables:
        show(table)
    places = [*files.values(), *([output] if output is not None else [])]
    print(f"\n  {_counted(outcomes)}; the table is in {', '.join(map(str, places[:-1]))} and {places[-1]}")
    if output is not None:
        if output.suffix in files:
            with written(output) as part:
                shutil.copyfile(files[output.suffix], part)
        else:
            write(tables, output)
    if said := _spent([one.job for one in outcomes if not one.is_skipped]):
        print(f"  {said}")
    return max((one.job.exit_code for one in outcomes), default=0)


def _rows(outcomes: Sequence[Outcome], store: Store) -> Iterator[dict[str, Any]]:
    runs = [one.job.run_id for one in outcomes if one.job.run_id]
    names, places = ", ".join(_MEASURED), ", ".join("?" * len(runs))
    asked = f"SELECT {names} FROM records WHERE run_id IN ({places}) ORDER BY started_at, record_id"
    of_run: dict[str, list[dict[str, Any]]] = {}
    for found in store.query(asked, runs).found if runs else []:
        of_run.setdefault(found["run_id"], []).append(found)
    for one in outcomes:
        reproduce = f"roofcast bench {one.job.overrides}".rstrip()
        job = dict.fromkeys(_ROW) | {"job": one.job.status, "skipped": one.is_skipped, "reproduce": reproduce}
        for found in of_run.get(one.job.run_id, [{"status": one.job.status, "reason": one.job.reason}]):
            yield job | found


def _measurements(rows: Sequence[dict[str, Any]]) -> Table:
    # What all rows have in common is the command's, and would only make them wider.
    differing = [name for name in _OF_A_STEP if len({row[name] for row in rows if row["label"]}) > 1]
    columns = [
        *(Column(_OF_A_STEP[name], text=name != "context") for name in differing),
        Column("kernel", text=True),
        Column("code", text=True),
        Column("latency", "us"),
        Column("of ceiling"),
        Column("95 %"),
        Column("status"),
        Column("reproduce", text=True),
    ]
    return Table("The sweep", columns, [_cells(row, differing) for row in rows])


def _cells(row: dict[str, Any], differing: Sequence[str]) -> list[str]:
    return [
        *("-" if row[name] is None else f"{row[name]:,}" if name == "context" else row[name] for name in differing),
        row["label"] or "-",
        row["implementation"] or "-",
        figure(row["latency_us"]),
        percent(row["fraction_of_ceiling"]),
        span(row["fraction_low"], row["fraction_high"]),
        f"{row['status']}, from before" if row["skipped"] else row["status"],
        row["reproduce"],
    ]


def _failures(outcomes: Sequence[Outcome], rows: Sequence[dict[str, Any]]) -> Iterator[Table]:
    """What went wrong, if anything did; a call that no implementation takes here did not go wrong."""
    failed = [row for row in rows if row["status"] not in ("ok", "unsupported")]
    if failed:
        columns = [Column(name, text=True) for name in ("what", "status", "why", "reproduce")]
        cells = [[row["label"] or "the job", row["status"], row["reason"] or "-", row["reproduce"]] for row in failed]
        yield Table("What failed", columns, cells)


def _spent(jobs: Sequence[Job]) -> str:
    """What a sweep took beyond compiling and measuring, from the start of its process on."""
    compiling_s, measuring_s, proving_s = (
        sum(getattr(job, name) for job in jobs) for name in ("compiling_s", "measuring_s", "proving_s")
    )
    least_s = compiling_s + measuring_s
    if not least_s:
        return ""
    beyond_s = time.time() - psutil.Process().create_time() - least_s
    parts = f"{compiling_s:.0f} s compiling, {measuring_s:.0f} s measuring, {proving_s:.0f} s proving kernels right"
    if beyond_s < proving_s:
        return f"{parts}, in {least_s + beyond_s:.0f} s, for jobs ran at once"
    rest = f"{beyond_s - proving_s:.0f} s starting, waiting and writing"
    return f"{least_s + beyond_s:.0f} s: {parts}, {rest}; {beyond_s / least_s:.1%} beyond compiling and measuring"


def _counted(outcomes: Sequence[Outcome]) -> str:
    counts = Counter("skipped" if one.is_skipped else one.job.status for one in outcomes)
    said = ", ".join(f"{count} {word}" for word, count in sorted(counts.items()))
    return f"{counted(len(outcomes), 'configuration')}: {said}"
