"""Measured kernels as columns: a file, its checks, and the project's own evidence. A bad row is refused, others are read."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int, Shaped

from .... import conf
from ...errors import UsageError
from ...files.database import connection
from ...files.parquet import literal
from ..published import Refused

EVIDENCE = "evidence/kernels.parquet"
SOURCE = "aiconfigurator-core 0.12.0 (NVIDIA; Apache-2.0), systems/data"

NEEDED: Mapping[str, tuple[str, ...]] = {
    "gemv": ("n", "k"),
    "decode_attention": ("heads", "kv_heads", "head_dim", "context"),
    "all_reduce": ("n", "n_gpus"),
}
"""Op -> columns that describe its call: `n` is a GEMV's outputs, or the elements that every GPU contributes."""

TEXTS = ("chip", "op", "framework", "version", "dtype", "kv_dtype")
COUNTS = ("n", "k", "heads", "kv_heads", "head_dim", "context", "n_gpus")
REQUIRED = ("chip", "op", "framework", "latency_us")
_LARGEST = 1e12

BITS: Mapping[str, float] = {
    "float32": 32, "float": 32, "bfloat16": 16, "float16": 16, "half": 16, "fp8": 8, "fp8_block": 8, "fp8_e4m3": 8,
    "int8": 8, "int8_wo": 8, "sq": 8, "int4": 4, "int4_wo": 4, "mxfp4": 4.25, "nvfp4": 4.5,
}  # fmt: skip
"""Bits of one value, scales of small blocks counted: one byte to 32 values in MXFP4, to 16 in NVFP4. `wo` says that only
weights are quantised, `sq` is SmoothQuant."""


@dataclass(frozen=True)
class Rows:
    """Measured kernels, one element of every column per row; counts that an op does not have are 0.

    Attributes:
        line: in the file, its header being line 1.
        id: the row's name, or its line.
        chip, op, framework, version, dtype, kv_dtype: as the file writes them.
        n, k, heads, kv_heads, head_dim, context, n_gpus: of the call.
        latency_us: measured.
    """

    line: Int[np.ndarray, "rows"]
    id: Shaped[np.ndarray, "rows"]
    chip: Shaped[np.ndarray, "rows"]
    op: Shaped[np.ndarray, "rows"]
    framework: Shaped[np.ndarray, "rows"]
    version: Shaped[np.ndarray, "rows"]
    dtype: Shaped[np.ndarray, "rows"]
    kv_dtype: Shaped[np.ndarray, "rows"]
    n: Float[np.ndarray, "rows"]
    k: Float[np.ndarray, "rows"]
    heads: Float[np.ndarray, "rows"]
    kv_heads: Float[np.ndarray, "rows"]
    head_dim: Float[np.ndarray, "rows"]
    context: Float[np.ndarray, "rows"]
    n_gpus: Float[np.ndarray, "rows"]
    latency_us: Float[np.ndarray, "rows"]

    def __len__(self) -> int:
        return len(self.line)

    def __getitem__(self, chosen: np.ndarray) -> Rows:
        """Some of the rows, by a mask or by places."""
        return Rows(**{one.name: getattr(self, one.name)[chosen] for one in fields(self)})

    @property
    def format(self) -> Shaped[np.ndarray, "rows"]:
        """What decides the bytes of a call: the cache's type in attention, else the weights'."""
        return np.where(self.op == "decode_attention", self.kv_dtype, self.dtype)

    @property
    def bytes(self) -> Float[np.ndarray, "rows"]:
        """Weights or keys and values that a call streams; what an all-reduce gets from each GPU."""
        names, places = np.unique(self.format, return_inverse=True)
        size = np.array([BITS[name] / 8 for name in names])[places] if len(names) else np.zeros(0)
        cached = 2 * self.kv_heads * self.head_dim * self.context
        values = np.where(self.op == "gemv", self.n * self.k, np.where(self.op == "all_reduce", self.n, cached))
        return values * size

    def keys(self) -> list[tuple[object, ...]]:
        """What makes two rows one measurement, whatever file they stand in."""
        columns = [getattr(self, name).tolist() for name in (*TEXTS[1:], *COUNTS, "latency_us")]
        return list(zip(*columns, strict=True))


def evidence() -> Rows:
    """The project's own evidence, made by `store` from its source."""
    with as_file(files(conf) / EVIDENCE) as path, connection() as opened:
        query = f"SELECT {', '.join((*TEXTS, *COUNTS))}, latency_us FROM read_parquet({literal(str(path))})"
        found = opened.execute(query).fetchnumpy()
    line = np.arange(len(found["latency_us"])) + 2
    texts = {name: np.asarray(found[name]).astype(str) for name in TEXTS}
    numbers = {name: np.asarray(found[name], dtype=float) for name in (*COUNTS, "latency_us")}
    return Rows(line, line.astype(str), **texts, **numbers)


def store(source: Path, path: Path) -> None:
    """Writes the evidence file from a CSV of measured kernels; refuses to leave any row out."""
    if bad := read(source)[1]:
        raise UsageError(f"every row must be sound; got {bad[0].reason}")
    texts = [f"coalesce({name}, '') AS {name}" for name in TEXTS]
    columns = ", ".join([*texts, *(f"{_if_needed(name)} AS {name}" for name in COUNTS)])
    with connection() as opened:
        opened.execute(
            f"COPY (SELECT {columns}, latency_us::DOUBLE AS latency_us FROM read_csv({literal(str(source))})) "
            f"TO {literal(str(path))} (FORMAT parquet, COMPRESSION zstd, KV_METADATA {{source: {literal(SOURCE)}}})"
        )


def _if_needed(name: str) -> str:
    """SQL for a count: 0 where the row's op has none, as `read` has it."""
    ops = ", ".join(literal(op) for op, needed in NEEDED.items() if name in needed)
    return f"(CASE WHEN op IN ({ops}) THEN {name} ELSE 0 END)::INTEGER"


def read(file: Path) -> tuple[Rows, list[Refused]]:
    """The rows of a CSV file, and those that are no rows.

    Raises:
        UsageError: if the file cannot be read or lacks a column that every row needs.
    """
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            return _read(csv.DictReader(opened))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"kernels must name a readable CSV file; got {str(file)!r}: {error}") from None


def _read(reader: csv.DictReader[str]) -> tuple[Rows, list[Refused]]:
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(f"kernels must have the columns {', '.join(REQUIRED)}; it lacks {', '.join(missing)}")
    kept: list[tuple[int, str, list[str], list[float]]] = []
    bad: list[Refused] = []
    for given in reader:
        line = reader.line_num
        texts = [(given.get(name) or "").strip() for name in TEXTS]
        if texts[1] == "decode_attention":
            texts[5] = texts[5] or texts[4]  # a cache whose type is not given is of the activations' type
        name = (given.get("id") or "").strip() or f"line {line}"
        try:
            if None in given:
                raise UsageError("there are more fields than columns")
            kept.append((line, name, texts, _numbers(given, texts)))
        except UsageError as error:
            bad.append(Refused(line, name, texts[0], f"line {line}: {error}"))
    return _columns(kept), bad


def _columns(kept: Sequence[tuple[int, str, list[str], list[float]]]) -> Rows:
    lines, ids, texts, numbers = zip(*kept, strict=True) if kept else ((), (), (), ())
    words = np.array(texts, dtype=str).reshape(len(kept), len(TEXTS))
    figures = np.array(numbers, dtype=float).reshape(len(kept), len(COUNTS) + 1)
    return Rows(
        np.array(lines, dtype=int),
        np.array(ids, dtype=str),
        **{name: words[:, place] for place, name in enumerate(TEXTS)},
        **{name: figures[:, place] for place, name in enumerate((*COUNTS, "latency_us"))},
    )


def _numbers(given: Mapping[str, str | None], texts: Sequence[str]) -> list[float]:
    """The counts of a row, 0 where its op has none, and its latency."""
    told = dict(zip(TEXTS, texts, strict=True))
    for name in ("chip", "op", "framework"):
        if not told[name]:
            raise UsageError(f"{name} must be given")
    if told["op"] not in NEEDED:
        raise UsageError(f"op must be one of {', '.join(NEEDED)}; got {told['op']!r}")
    field = "kv_dtype" if told["op"] == "decode_attention" else "dtype"
    if told[field] not in BITS:
        raise UsageError(f"{field} must be one of {', '.join(BITS)}; got {told[field]!r}")
    needed = NEEDED[told["op"]]
    counts = [_count(name, (given.get(name) or "").strip()) if name in needed else 0.0 for name in COUNTS]
    shape = dict(zip(COUNTS, counts, strict=True))
    if told["op"] == "decode_attention" and shape["heads"] % shape["kv_heads"]:
        raise UsageError(f"heads must be a multiple of kv_heads; got {shape['heads']:g} and {shape['kv_heads']:g}")
    if told["op"] == "all_reduce" and shape["n_gpus"] < 2:
        raise UsageError(f"n_gpus must be at least 2; got {shape['n_gpus']:g}")
    return [*counts, _positive("latency_us", (given.get("latency_us") or "").strip())]


def _count(name: str, text: str) -> float:
    value = _positive(name, text)
    if value != int(value) or value > _LARGEST:
        raise UsageError(f"{name} must be a whole number from 1 to {_LARGEST:g}; got {text!r}")
    return value


def _positive(name: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and value > 0):
        raise UsageError(f"{name} must be a finite number above 0; got {text!r}")
    return value
