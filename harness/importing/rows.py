"""From what a tool's file says, and what the command line adds, to rows like those of published speeds."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType

from ...kernels.model import Step
from ..calibrate.engine import engines_on, runs_on
from ..calibrate.published import Published, device_labelled, row_of, situation
from ..errors import UsageError
from ..facts.models import model_named
from ..steps.workloads import decode_step, resident_elements
from . import llama_bench, pytest_benchmark, trtllm, vllm
from .documents import Entry
from .fields import Document, LeftOutError, Reading
from .names import model_reported

TOOLS: Sequence[ModuleType] = (llama_bench, vllm, trtllm, pytest_benchmark)
"""Each has TOOL, its name; `reads`, whether an object is one of its results; and `read`, what that says."""

NEEDED: Mapping[str, str] = {
    "hardware": "device=",
    "model": "model=",
    "engine": "engine=",
    "n_chips": "devices=",
    "weight_bits": "format= or weight_bits=",
}
"""Column that a row must have -> the key that fills it."""

_LIKE_SIZE = 0.05
"""By how much a tool's count of parameters may differ: it counts norms and biases, and some count tied tables twice."""


@dataclass(frozen=True)
class Outcome:
    """What became of one object of a file.

    Attributes:
        place: in the file.
        tool: that wrote it; empty where none is known.
        row: the evidence; None where there is none.
        reason: why not.
        is_left_out: it is sound, and says nothing of one decode step.
    """

    place: str
    tool: str = ""
    row: Published | None = None
    reason: str = ""
    is_left_out: bool = False


def outcomes(entries: Sequence[Entry], given: Mapping[str, str]) -> Iterator[Outcome]:
    """What becomes of each entry.

    Args:
        entries: of a file.
        given: columns that the command line fills, and `input_len`, `output_len` and `tokens`.
    """
    for number, entry in enumerate(entries, 1):
        tool = _tool(entry.document)
        try:
            if entry.document is None:
                raise UsageError(entry.problem)
            if tool is None:
                known = ", ".join(one.TOOL for one in TOOLS)
                raise UsageError(f"must be a result of {known}; got an object with {_some(entry.document)}")
            row = _row(number, _identity(tool, entry.document), tool.read(entry.document), given)
            yield Outcome(entry.place, tool.TOOL, row)
        except LeftOutError as error:
            yield Outcome(entry.place, tool.TOOL if tool else "", reason=str(error), is_left_out=True)
        except UsageError as error:
            yield Outcome(entry.place, tool.TOOL if tool else "", reason=str(error))


def _tool(document: Document | None) -> ModuleType | None:
    return next((tool for tool in TOOLS if document is not None and tool.reads(document)), None)


def _identity(tool: ModuleType, document: Document) -> str:
    """The same measurement has the same name, in whatever file and form it comes."""
    content = json.dumps(document, sort_keys=True)
    return f"{tool.TOOL.replace(' ', '-')}-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _row(number: int, name: str, reading: Reading, given: Mapping[str, str]) -> Published:
    columns = {key: value for key, value in reading.columns.items() if value}
    told = {key: value for key, value in given.items() if value}
    columns = _named(columns, told) | {key: value for key, value in told.items() if key not in ("model", "hardware")}
    columns = _timed(columns)
    for column, key in NEEDED.items():
        if not columns.get(column):
            raise UsageError(f"{column} must be given, which the file does not say: {key} does")
    row = row_of(number, name, columns)
    _check(row, reading.params_b)
    return row


def _named(columns: Mapping[str, str], told: Mapping[str, str]) -> dict[str, str]:
    """The columns with the model and the machine under our names; a key says what the file does not, or cannot tell us."""
    found = dict(columns)
    for column, known in (("model", model_reported), ("hardware", lambda text: device_labelled(text).name)):
        stated, key = columns.get(column, ""), NEEDED[column]
        if not stated:
            found[column] = told.get(column, "")
            continue
        try:
            found[column] = known(stated)
        except UsageError as error:
            if column not in told:
                raise UsageError(f"{error}; {key} says which it is") from None
            found[column] = told[column]
        if told.get(column, found[column]) != found[column]:
            raise UsageError(f"{key.rstrip('=')} must be that of the file, {found[column]}; got {told[column]!r}")
    return found


def _timed(columns: Mapping[str, str]) -> dict[str, str]:
    """The columns with a speed, out of the time of a request or a call."""
    found = dict(columns)
    if "request_s" in found:
        prompt, generated = (_count(name, found) for name in ("input_len", "output_len"))
        found |= {"tok_s": f"{generated / float(found['request_s']):.6g}", "context": f"in{prompt:.0f}/out{generated:.0f}"}
    if "call_s" in found:
        found["tok_s"] = f"{_count('tokens', found) / float(found['call_s']):.6g}"
    return found


def _count(name: str, columns: Mapping[str, str]) -> float:
    text = columns.get(name, "")
    if not re.fullmatch(r"[1-9][0-9]{0,8}", text):
        raise UsageError(f"{name} must be a whole number from 1, which the file does not say: {name}= does; got {text!r}")
    return float(text)


def _check(row: Published, params_b: float) -> None:
    """Raises UsageError for a row that cannot be predicted, or is not of the model or machine that it is said to be of."""
    if row.left_out:
        raise LeftOutError(row.left_out.removeprefix("left out: "))
    run = situation(row)
    if not runs_on(run.engine, run.device):
        known = ", ".join(engines_on(run.device))
        raise UsageError(f"engine must be one that runs on {run.device.name} ({known}); got {row.engine!r}")
    counted_b = resident_elements(decode_step(Step(model_named(row.model), 1))) / 1e9
    if params_b and abs(params_b / counted_b - 1) > _LIKE_SIZE:
        raise UsageError(f"model must have the {params_b:.3g} billion parameters of the file; {row.model} has {counted_b:.3g}")
    ceiling = 1e6 / (run.floor_us + run.prefill_floor_us)
    if row.tok_s > ceiling:
        raise UsageError(
            f"tok_s must not exceed {ceiling:.4g}, the ceiling of {run.chips} x {run.device.name} at {run.weight_bits:g} "
            f"bits a weight; got {row.tok_s:g}"
        )


def _some(document: Document) -> str:
    names = list(map(str, document))
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "") or "nothing"
