"""The samples of a comparison in pytest-benchmark's JSON, which `pytest-benchmark compare FILE` reads.

Each quantity of a kernel is a group with the base and the head as its two benchmarks.
"""

from __future__ import annotations

import platform
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from ..host.provenance import version_of
from .judge import Comparison

_WHISKER = 1.5
"""Of Tukey's fences, in interquartile ranges."""


def document(found: Comparison) -> dict[str, Any]:
    """What pytest-benchmark would have written, as far as there is something to say."""
    return {
        "machine_info": {
            "node": platform.node(),
            "machine": platform.machine(),
            "system": platform.system(),
            "release": platform.release(),
            "python_version": platform.python_version(),
            "python_implementation": platform.python_implementation(),
        },
        "commit_info": {"base": found.base, "head": found.head},
        "benchmarks": [
            _benchmark(*key, side, revision, [one for quad in quads for one in getattr(quad, side)])
            for key, quads in found.quads.items()
            if quads
            for side, revision in (("base", found.base), ("head", found.head))
        ],
        "datetime": datetime.now(UTC).isoformat(),
        "version": version_of("roofcast"),
    }


def _benchmark(kernel: str, quantity: str, side: str, revision: str, seconds: Sequence[float]) -> dict[str, Any]:
    group = f"{kernel}, {quantity}"
    return {
        "group": group,
        "name": side,
        "fullname": f"{group}, {side}",
        "params": None,
        "param": None,
        "extra_info": {"revision": revision},
        "options": {},
        "stats": statistics(seconds) | {"data": list(seconds), "iterations": 1},
    }


def statistics(seconds: Sequence[float]) -> dict[str, Any]:
    """The statistics that pytest-benchmark keeps of samples in seconds."""
    data = np.sort(np.asarray(seconds, dtype=float))
    q1, median, q3 = (float(one) for one in np.quantile(data, (0.25, 0.5, 0.75)))
    mean, stddev = float(data.mean()), float(data.std(ddof=1)) if len(data) > 1 else 0.0
    within = data[(data >= q1 - _WHISKER * (q3 - q1)) & (data <= q3 + _WHISKER * (q3 - q1))]
    far = int(np.count_nonzero(np.abs(data - mean) > stddev))
    return {
        "min": float(data[0]),
        "max": float(data[-1]),
        "mean": mean,
        "stddev": stddev,
        "rounds": len(data),
        "median": median,
        "iqr": q3 - q1,
        "q1": q1,
        "q3": q3,
        "iqr_outliers": len(data) - len(within),
        "stddev_outliers": far,
        "outliers": f"{far};{len(data) - len(within)}",
        "ld15iqr": float(within[0]),
        "hd15iqr": float(within[-1]),
        "ops": 1 / mean,
        "total": float(data.sum()),
    }
