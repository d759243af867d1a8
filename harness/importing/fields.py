"""Fields of a tool's file, read one by one: what is not as it must be is named with its value."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..errors import UsageError

Document = Mapping[str, Any]

_BITS: Mapping[str, float] = {
    "f32": 32, "fp32": 32, "float32": 32, "float": 32, "f16": 16, "fp16": 16, "float16": 16, "half": 16, "bf16": 16,
    "bfloat16": 16, "fp8": 8, "fp8_e4m3": 8, "fp8_e5m2": 8, "fp8_block_scales": 8, "int8": 8, "w8a16": 8, "w8a8": 8,
    "w8a8_sq_per_channel": 8, "q8_0": 8.5, "q5_1": 6, "q5_0": 5.5, "q4_1": 5, "q4_0": 4.5, "iq4_nl": 4.5, "nvfp4": 4.5,
    "mxfp4": 4.25, "w4a16_awq": 4.25, "w4a8_awq": 4.25, "awq": 4.25, "gptq": 4.25, "w4a16": 4.25,
}  # fmt: skip
"""Bits of one value by the names that tools use, scales counted: ggml's blocks of 32 hold one or two 16-bit scales
(github:ggml-org/ggml src/ggml-common.h); AWQ and GPTQ share a 16-bit scale and a zero point among 128 values."""


_LARGEST = 1e100


class LeftOutError(UsageError):
    """A measurement that is sound and says nothing of one decode step at batch 1."""


@dataclass(frozen=True)
class Reading:
    """What a file says of one measurement.

    Attributes:
        columns: those of a file of published speeds that the tool's file fills, as texts.
        params_b: parameters that the tool counted, in billions; 0 where it says none.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    params_b: float = 0.0


def number(document: Document, name: str, least: float = 0.0) -> float:
    """A number from `least`, its field named as `outer.inner` where it is nested.

    Raises:
        UsageError: if it is missing, no number, not finite or too small.
    """
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    # No figure of a benchmark has a hundred digits, and a float holds no more than 308.
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value < _LARGEST:
        raise UsageError(f"{name} must be a number from {least:g}; got {value!r}")
    return float(value)


def positive(document: Document, name: str) -> float:
    """A number above 0.

    Raises:
        UsageError: if it is anything else.
    """
    value = number(document, name)
    if value == 0:
        raise UsageError(f"{name} must be above 0; got {value:g}")
    return value


def text(document: Document, name: str) -> str:
    """A text, empty where the field is missing or null.

    Raises:
        UsageError: if it is something else.
    """
    value: Any = document
    for part in name.split("."):
        value = value.get(part) if isinstance(value, Mapping) else None
    if value is None:
        return ""
    if not isinstance(value, str):
        raise UsageError(f"{name} must be a text; got {value!r}")
    # It goes into a line of a file, which has no place for line breaks and lone surrogates.
    return " ".join(value.encode("utf-8", "replace").decode().split())


def bits(name: str, format: str) -> str:
    """Bits of a value in a format that a tool names; empty for one that is not stated.

    Raises:
        UsageError: if no such format is known.
    """
    plain = re.sub(r"[^a-z0-9]+", "_", format.lower()).strip("_").removeprefix("torch_")
    if plain in ("", "none", "auto", "null", "no_quant"):
        return ""
    if plain not in _BITS:
        raise UsageError(f"{name} must be one of {', '.join(_BITS)}; got {format!r}; weight_bits= and kv_bits= say it")
    return f"{_BITS[plain]:g}"


def tokens(prompt: float, generated: float) -> str:
    """A context as files of published speeds write it."""
    return f"in{prompt:.0f}/out{generated:.0f}"


def alone(concurrency: float | None, name: str) -> None:
    """Raises LeftOutError unless one request ran at a time."""
    if concurrency is None or concurrency > 1.05:
        stated = "is not limited" if concurrency is None else f"is {concurrency:g}"
        raise LeftOutError(f"{name} {stated}: only a speed at batch 1 says what one decode step takes")
