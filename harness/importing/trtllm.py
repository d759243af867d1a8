"""TensorRT-LLM's trtllm-bench: `--report_json`, or what it prints (github:NVIDIA/TensorRT-LLM
tensorrt_llm/bench/dataclasses/reporting.py).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import UsageError
from .fields import Document, LeftOutError, Reading, alone, bits, number, positive, text, tokens

TOOL = "trtllm-bench"

_PRINTED: Mapping[str, str] = {
    "engine.model": r"Model",
    "engine.version": r"TensorRT[- ]LLM Version",
    "engine.dtype": r"Dtype",
    "engine.kv_cache_dtype": r"KV Cache Dtype",
    "engine.quantization": r"Quantization",
    "world_info.tp_size": r"TP Size",
    "world_info.pp_size": r"PP Size",
    "world_info.ep_size": r"EP Size",
    "request_info.avg_num_concurrent_requests": r"Number of concurrent requests",
    "request_info.avg_input_length": r"Average Input Length \(tokens\)",
    "request_info.avg_output_length": r"Average Output Length \(tokens\)",
    "performance.output_throughput_per_user_tok_s": r"Per User Output Throughput \[w/ ctx\] \(tps/user\)",
    "streaming_metrics.avg_tpot_ms": r"Average time-per-output-token \[TPOT\] \(ms\)",
}
"""Field of the JSON -> how the printed report calls it."""


def reads(document: Document) -> bool:
    """Whether the object is a report."""
    return {"engine", "world_info", "request_info", "performance"} <= set(document)


def printed(report: str) -> Document | None:
    """What a printed report says, in the form of the JSON one; None for a text that is no report."""
    if "PERFORMANCE OVERVIEW" not in report or "REQUEST DETAILS" not in report:
        return None
    found: dict[str, Any] = {part: {} for part in ("engine", "world_info", "request_info", "performance")}
    for name, words in _PRINTED.items():
        if match := re.search(rf"^\W*{words}:\s*(.*?)\s*$", report, re.MULTILINE):
            part, field = name.split(".")
            found.setdefault(part, {})[field] = match[1] if part == "engine" else _figure(match[1])
    if match := re.search(r"^= MACHINE DETAILS\s*$\n=+\n(.*?), memory ", report, re.MULTILINE):
        found["machine"] = {"name": match[1]}
    if "DECODING STATISTICS" in report:
        found["decoding_stats"] = {}
    return found


def read(document: Document) -> Reading:
    """A run of one request at a time.

    Raises:
        LeftOutError: for several at once, or speculative decoding.
        UsageError: for a field that is not as it must be.
    """
    for part in ("engine", "world_info", "request_info", "performance"):
        if not isinstance(document[part], Mapping):
            raise UsageError(f"{part} must be an object; got {document[part]!r}")
    if document.get("decoding_stats") is not None:
        raise LeftOutError("decoding_stats are there: speculative decoding gives several tokens a step")
    alone(number(document, "request_info.avg_num_concurrent_requests"), "request_info.avg_num_concurrent_requests")
    is_streaming = isinstance(document.get("streaming_metrics"), Mapping)
    per_second = (
        1e3 / positive(document, "streaming_metrics.avg_tpot_ms")
        if is_streaming
        else positive(document, "performance.output_throughput_per_user_tok_s")
    )
    tensor, pipeline = number(document, "world_info.tp_size", 1), number(document, "world_info.pp_size", 1)
    if tensor > 1 and pipeline > 1:
        raise LeftOutError(f"tp_size is {tensor:.0f} and pp_size {pipeline:.0f}: a mix of both is not modelled")
    stated = text(document, "engine.quantization")
    found = {
        "hardware": text(document, "machine.name") if document.get("machine") else "",
        "n_chips": f"{tensor * pipeline:.0f}",
        "parallelism": f"PP{pipeline:.0f}" if pipeline > 1 else f"TP{tensor:.0f}",
        "model": text(document, "engine.model"),
        "weight_bits": bits("engine.quantization", stated) or bits("engine.dtype", text(document, "engine.dtype")),
        "kv_bits": bits("engine.kv_cache_dtype", text(document, "engine.kv_cache_dtype")),
        "context": tokens(
            number(document, "request_info.avg_input_length"), positive(document, "request_info.avg_output_length")
        ),
        "engine": f"TensorRT-LLM {text(document, 'engine.version')}".strip(),
        "tok_s": f"{per_second:.6g}",
        "metric_note": "" if is_streaming else "incl. prefill",
    }
    return Reading(found)


def _figure(words: str) -> float | str:
    try:
        return float(words)
    except ValueError:
        return words
