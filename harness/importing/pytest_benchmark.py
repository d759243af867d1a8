"""pytest-benchmark's `--benchmark-json` (github:ionelmc/pytest-benchmark docs/usage.rst).

A benchmark times any function. Which model it decodes, and how many tokens a call generates, a test says in
`benchmark.extra_info`, under the names of the columns of a file of published speeds and `tokens`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import UsageError
from .fields import Document, Reading, positive, text

TOOL = "pytest-benchmark"

_TOLD = ("hardware", "n_chips", "parallelism", "model", "weight_bits", "kv_bits", "context", "batch", "engine", "tokens")


def benchmarks(document: Any) -> Iterator[tuple[str, Document]]:
    """The benchmarks of a file with their places, each with the file's date; none of another tool's file."""
    if isinstance(document, Mapping) and "machine_info" in document and isinstance(document.get("benchmarks"), list):
        for place, one in enumerate(document["benchmarks"]):
            told = one if isinstance(one, Mapping) else {"stats": one}
            yield f"benchmarks[{place}]", {**told, "datetime": document.get("datetime")}


def reads(document: Document) -> bool:
    """Whether the object is a benchmark."""
    return {"stats", "datetime"} <= set(document)


def read(document: Document) -> Reading:
    """The median time of a call.

    Raises:
        UsageError: for a field that is not as it must be.
    """
    if not isinstance(document["stats"], Mapping):
        raise UsageError(f"stats must be an object with the median in seconds; got {document['stats']!r}")
    told = document.get("extra_info") or {}
    if not isinstance(told, Mapping):
        raise UsageError(f"extra_info must be an object; got {told!r}")
    found = {name: text({name: str(told[name])}, name) for name in _TOLD if told.get(name) is not None}
    timed = {"call_s": f"{positive(document, 'stats.median'):.6g}", "source_date": text(document, "datetime")[:10]}
    return Reading(found | timed)
