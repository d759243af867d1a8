"""vLLM's benchmarks: latency and serving, alone or as records of PyTorch's benchmark database (github:vllm-project/vllm
vllm/benchmarks/latency.py, serve.py, throughput.py and lib/utils.py).
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from ..errors import UsageError
from .fields import Document, LeftOutError, Reading, alone, bits, number, positive, text, tokens

TOOL = "vllm bench"


def reads(document: Document) -> bool:
    """Whether the object is one of its results."""
    keys = set(document)
    is_record = isinstance(document.get("benchmark"), Mapping) and isinstance(document.get("metric"), Mapping)
    return {"avg_latency", "latencies"} <= keys or _is_serving(keys) or _is_throughput(keys) or is_record


def read(document: Document) -> Reading:
    """A run of one request at a time.

    Raises:
        LeftOutError: where several ran at once, or only throughput was measured.
        UsageError: for a field that is not as it must be.
    """
    keys = set(document)
    if _is_throughput(keys):
        raise LeftOutError("tokens_per_second is the throughput of many requests, not the speed of one")
    if "metric" in keys:
        return _record(document)
    return _serving(document) if _is_serving(keys) else _latency(document, {})


def _is_serving(keys: set[str]) -> bool:
    return bool({"mean_tpot_ms", "median_tpot_ms"} & keys) and "total_output_tokens" in keys


def _is_throughput(keys: set[str]) -> bool:
    return {"elapsed_time", "num_requests", "tokens_per_second"} <= keys


def _latency(document: Document, arguments: Document) -> Reading:
    """The time of a whole request. Only the record says which: `input_len=` and `output_len=` do otherwise."""
    seconds = document.get("latencies")
    if not isinstance(seconds, list) or not seconds or not all(_is_time(one) for one in seconds):
        raise UsageError(f"latencies must be a list of seconds above 0; got {seconds!r}")
    found = {"request_s": f"{statistics.median(seconds):.6g}", "engine": "vLLM", "metric_note": "incl. prefill"}
    if arguments:
        alone(number(arguments, "batch_size"), "batch_size")
        chips = number(arguments, "tensor_parallel_size", 1) if arguments.get("tensor_parallel_size") else 1.0
        stated = text(arguments, "quantization") or text(arguments, "dtype")
        found |= {
            "input_len": f"{number(arguments, 'input_len'):.0f}",
            "output_len": f"{positive(arguments, 'output_len'):.0f}",
            "n_chips": f"{chips:.0f}",
            "weight_bits": bits("quantization", stated),
            "kv_bits": bits("kv_cache_dtype", text(arguments, "kv_cache_dtype")),
        }
    return Reading(found)


def _record(document: Document) -> Reading:
    if text(document, "metric.name") != "latency":
        raise LeftOutError(f"metric.name is {document['metric'].get('name')!r}: only latency is the time of single requests")
    arguments = document["benchmark"].get("extra_info", {}).get("args")
    if not isinstance(arguments, Mapping):
        raise UsageError("benchmark.extra_info.args must hold the arguments of the run; got none")
    found = _latency({"latencies": document["metric"].get("benchmark_values")}, arguments)
    return Reading({**found.columns, "model": text(document, "model.name")})


def _serving(document: Document) -> Reading:
    """Time per output token, which leaves the first one out."""
    asked = document.get("max_concurrency")
    alone(number(document, "max_concurrency") if asked is not None else None, "max_concurrency")
    completed = positive(document, "completed")
    name = "median_tpot_ms" if "median_tpot_ms" in document else "mean_tpot_ms"
    backend, size = text(document, "backend") or text(document, "endpoint_type"), document.get("tensor_parallel_size")
    found = {
        "model": text(document, "model_id"),
        # What answers an OpenAI request may be anything.
        "engine": "" if backend.startswith("openai") else backend,
        "context": tokens(
            number(document, "total_input_tokens") / completed, positive(document, "total_output_tokens") / completed
        ),
        "tok_s": f"{1e3 / positive(document, name):.6g}",
        "source_date": _day(text(document, "date")),
        "n_chips": str(size) if size is not None else "",
    }
    return Reading(found)


def _day(stamp: str) -> str:
    """`20250424-115850` as ISO 8601 writes the day."""
    return f"{stamp[:4]}-{stamp[4:6]}-{stamp[6:8]}" if stamp[:8].isdigit() else ""


def _is_time(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value) and value > 0
