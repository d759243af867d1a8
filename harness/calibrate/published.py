"""Published decode speeds: the row, the file, and what its free text means. A bad row is refused, the others are read."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import IO

from ...kernels.model import Model
from ..errors import UsageError
from ..facts.devices import device_named
from ..facts.envelope import Envelope
from ..facts.models import model_named
from .engine import engine_named
from .runs import MXFP4_BITS
from .situation import Situation
from .traffic import active_parameters, stand_in, traffic

REQUIRED = ("hardware", "model", "tok_s")
_OPTIONAL = (
    "id",
    "params_b",
    "active_params_b",
    "n_chips",
    "parallelism",
    "weight_bits",
    "kv_bits",
    "context",
    "batch",
    "engine",
    "metric_note",
    "source_date",
)
COLUMNS = (*REQUIRED, *_OPTIONAL)
"""Of a file of published speeds."""
_DEFAULT_TOKENS = (256.0, 512.0)
_UNSTATED_BITS = 8.0
_KV_BITS = 16.0
_SIZE = re.compile(r"[-_ ]?(?:\d+ ?GB|\d+c|NVL\d+)$", re.IGNORECASE)
_MAKER = re.compile(r"^(?:NVIDIA|AMD|Intel|Google|Apple|HGX|DGX)[-_ ]", re.IGNORECASE)
_TOKENS = r"([0-9]{1,3}(?:,[0-9]{3}){1,3}|[0-9]{1,9}(?:\.[0-9]{1,9})? ?[km]?)(?: ?tok(?:en)?s?)?"
_MOST_TOKENS = 10**9


@dataclass(frozen=True)
class Published:
    """One line of a file of published speeds, texts as they stand.

    Attributes:
        line: in the file, the header being line 1.
        id: its name, or its line number.
        tok_s: tokens per second.
        context: such as `in1024/out1024`, `tg128 @d512`, `~205`, `short`, or nothing.
    """

    line: int
    id: str
    hardware: str
    model: str
    tok_s: float
    params_b: str
    active_params_b: str
    n_chips: str
    parallelism: str
    weight_bits: str
    kv_bits: str
    context: str
    batch: str
    engine: str
    metric_note: str
    source_date: str

    @property
    def group(self) -> tuple[str, str]:
        """Rows of one group are held out together: they share what is particular to a machine and a model."""
        return self.hardware, self.model

    @property
    def left_out(self) -> str:
        """Why the row says nothing of the speed of one decode step; empty where it does."""
        note = self.metric_note.lower()
        if "speculative" in note:
            return "left out: speculative decoding"
        if "layer-split" in self.parallelism.lower():
            return "left out: layer-split over chips"
        return "left out: marked as an outlier" if "outlier" in note else ""


@dataclass(frozen=True)
class Refused:
    """A line that cannot be read or predicted, and why."""

    line: int
    id: str
    hardware: str
    reason: str


def read(file: Path | str | IO[str]) -> tuple[list[Published], list[Refused]]:
    """The rows of a CSV file, and those that are no rows.

    Raises:
        UsageError: if the file cannot be read or lacks a column that every row needs.
    """
    if not isinstance(file, Path | str):
        return _rows(file)
    try:
        with open(file, encoding="utf-8-sig", newline="") as opened:
            return _rows(opened)
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise UsageError(f"published must name a readable CSV file; got {str(file)!r}: {error}") from None


def _rows(lines: IO[str]) -> tuple[list[Published], list[Refused]]:
    reader = csv.DictReader(lines)
    missing = [name for name in REQUIRED if name not in (reader.fieldnames or ())]
    if missing:
        raise UsageError(f"published must have the columns {', '.join(REQUIRED)}; it lacks {', '.join(missing)}")
    found: list[Published] = []
    bad: list[Refused] = []
    for given in reader:
        line = reader.line_num
        texts = {name: (given.get(name) or "").strip() for name in COLUMNS}
        name = texts["id"] or f"line {line}"
        try:
            if None in given:
                raise UsageError("there are more fields than columns")
            found.append(row_of(line, name, texts))
        except UsageError as error:
            bad.append(Refused(line, name, texts["hardware"], f"line {line}: {error}"))
    return found, bad


def situation(row: Published) -> Situation:
    """The physical situation that a row describes.

    What is not published is inferred and marked as guessed: gpt-oss at the bits of its only checkpoint, other weights at 8;
    the whole node of a service, else the fewest chips, in powers of two, whose memory holds the weights; for a model without
    a file, one of like size in parameters, its weights scaled.

    Raises:
        UsageError: if the machine or the model is not known, the model has no decode step, or a field cannot be.
    """
    device = device_labelled(row.hardware)
    model, size = _model(row)
    if row.batch and _number("batch", row.batch) != 1:
        raise UsageError(f"batch must be 1; got {row.batch!r}")
    engine = engine_named(row.engine, device, row.source_date)
    bits = _bits("weight_bits", row.weight_bits)
    prompt, generated = tokens(row.context)
    note = row.metric_note.lower()
    alone = Situation(
        device,
        1,
        engine,
        model,
        weight_bits=bits or (MXFP4_BITS if model.name.startswith("gpt-oss") else _UNSTATED_BITS),
        kv_bits=_bits("kv_bits", row.kv_bits) or _KV_BITS,
        prompt=prompt,
        generated=generated,
        counts_prefill=("incl. prefill" in note and "tiny" not in note) or "(in+out)/time" in note,
        size=size,
        pipeline="pp" in row.parallelism.lower() or "layer-split" in row.parallelism.lower(),
        is_guessed=not (bits and row.n_chips),
    )
    return replace(alone, chips=_chips(row.n_chips) or _inferred_chips(alone))


def tokens(context: str) -> tuple[float, float]:
    """Tokens of the prompt and generated, as a context text says them; typical ones where there is none.

    Raises:
        UsageError: for a text that is not understood, or of more tokens than any model takes.
    """
    text = context.strip().lower()
    if not text:
        return _DEFAULT_TOKENS
    for pattern, meaning in _CONTEXTS:
        if match := re.fullmatch(pattern, text):
            prompt, generated = meaning(*(_thousands(group) if group else 0.0 for group in match.groups()))
            if prompt + generated > _MOST_TOKENS:
                raise UsageError(f"context must be at most {_MOST_TOKENS} tokens; got {context!r}")
            return prompt, max(1.0, generated)
    raise UsageError(f"context must be a text such as in1024/out128, tg128 @d512, 2048, 128K, or short; got {context[:100]!r}")


_CONTEXTS: tuple[tuple[str, Callable[..., tuple[float, float]]], ...] = (
    (rf"in{_TOKENS}/out{_TOKENS}", lambda prompt, generated: (prompt, generated)),
    (rf"tg{_TOKENS}(?: @d{_TOKENS})?", lambda generated, depth: (depth, generated)),
    (rf"short prompt/out{_TOKENS}", lambda generated: (20.0, generated)),
    (rf"out{_TOKENS}", lambda generated: (64.0, generated)),
    (rf"~{_TOKENS}", lambda total: (5.0, total - 5)),
    (rf"(?:max_seq )?{_TOKENS}(?: max)?", lambda total: (total / 2, total / 2)),
    ("short", lambda: (10.0, 128.0)),
)
"""Ways to write a context, and the tokens of prompt and generation that each means."""


@cache
def device_labelled(label: str) -> Envelope:
    """The machine of a label; maker, size of memory, count of cores and remarks are left aside where the whole is no name."""
    if "unspecified" in label.lower():
        raise UsageError(f"hardware must say which chip it is; got {label!r}")
    bare = re.sub(r"\(.*?\)", "", label).strip()
    shorter = re.sub(_SIZE, "", bare)
    for spelling in (label, bare, shorter, re.sub(_MAKER, "", bare), re.sub(_MAKER, "", shorter)):
        try:
            return device_named(spelling)
        except UsageError:
            continue
    return device_named(label)


def _model(row: Published) -> tuple[Model, float]:
    """The row's model, or one that stands in for it and how much larger the row's is."""
    try:
        model = model_named(row.model)
        traffic(model)
        return model, 1.0
    except UsageError:
        if not row.params_b:
            raise
        total = _number("params_b", row.params_b) * 1e9
        active = _number("active_params_b", row.active_params_b) * 1e9 if row.active_params_b else total
        if not 0 < active <= total:
            raise UsageError(f"active_params_b must be above 0 and at most params_b; got {row.active_params_b!r}") from None
        found = stand_in(total, active)
        if found is None:
            raise
        return found, active / active_parameters(found)


def row_of(line: int, name: str, texts: Mapping[str, str]) -> Published:
    """A row of some columns' texts, those that are not given being empty.

    Raises:
        UsageError: if a column that every row needs is empty, or the speed is no number above 0.
    """
    for field in REQUIRED:
        if not texts.get(field):
            raise UsageError(f"{field} must be given")
    speed = _number("tok_s", texts["tok_s"])
    if speed <= 0:
        raise UsageError(f"tok_s must be above 0; got {texts['tok_s']!r}")
    words = {column: texts.get(column, "") for column in COLUMNS}
    return Published(line, **{**words, "id": name, "tok_s": speed})  # type: ignore[arg-type]


def _bits(field: str, text: str) -> float:
    """Bits that a column gives; 0 where it is empty."""
    bits = _number(field, text) if text else 0.0
    if text and not 1 <= bits <= 64:
        raise UsageError(f"{field} must be from 1 to 64; got {text!r}")
    return bits


def _number(field: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise UsageError(f"{field} must be a number; got {text!r}")
    return value


def _thousands(text: str) -> float:
    number, unit = text.replace(",", "").rstrip("km "), text[-1:]
    return float(number) * {"k": 2**10, "m": 2**20}.get(unit, 1)


def _chips(text: str) -> int:
    if not text:
        return 0
    match = re.fullmatch(r"(?:>=|~|<=)?\s*([1-9][0-9]{0,5})", text)
    if not match:
        raise UsageError(f"n_chips must be a whole number from 1; got {text!r}")
    return int(match[1])


def _inferred_chips(alone: Situation) -> int:
    device: Envelope = alone.device
    capacity_gb = device.capacity_gb
    if capacity_gb is None:
        raise UsageError(f"n_chips must be given for {device.name}, the size of whose memory is not known")
    # A tenth is left for the KV cache and activations.
    least = 2 ** max(0, math.ceil(math.log2(alone.resident_gb * 1.1 / capacity_gb)))
    node = round(device.node_chips.value) if device.node_chips and alone.engine.service else 1
    return max(least, node)
