"""What a reader of the page chooses, and what is chosen at first."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..facts.envelope import FORMAT_BITS
from .data import Data
from .foretold import FEWEST
from .plots.plot import ANY, Section


@dataclass(frozen=True)
class Control:
    """One choice.

    Attributes:
        name: what plots know it by.
        label: what readers know it by.
        section: of the page.
        dataset, field: whose values may be chosen; empty where the axes of the grid name them.
        within: a control that the rows must agree with, empty for none.
        any: all of them at once may be chosen, and are at first.
    """

    name: str
    label: str
    section: Section
    dataset: str = ""
    field: str = ""
    within: str = ""
    any: bool = False


CONTROLS: tuple[Control, ...] = (
    Control("model", "Model", "predictions"),
    Control("format", "Weights", "predictions"),
    Control("context", "Context", "predictions"),
    Control("device", "Machine", "predictions"),
    Control("devices", "Devices", "predictions"),
    Control("envelope", "Machine", "kernels", "kernels", "envelope"),
    Control("op", "Op", "kernels", "kernels", "op", "envelope", any=True),
    Control("kernel_format", "Format", "kernels", "kernels", "format", "envelope", any=True),
    Control("kernel_context", "Context", "kernels", "kernels", "context", "envelope", any=True),
    Control("step", "Measured step", "kernels", "measured", "step", "envelope"),
    Control("series", "Kernel over time", "kernels", "kernels", "series", "envelope"),
    Control("hardware", "Hardware", "validation", "published", "hardware", any=True),
)

_USUAL_CONTEXT = 2048
_USUAL_DEVICE = "H100_SXM"


def choices(data: Data) -> dict[str, Any]:
    """What is chosen at first, by control; `bits` follows from the format, `newest` and `compare` are never chosen."""
    axes = data.axes
    chosen: dict[str, Any] = {
        "model": axes["model"][0],
        "format": axes["format"][0],
        "context": _USUAL_CONTEXT if _USUAL_CONTEXT in axes["context"] else axes["context"][0],
        "device": _USUAL_DEVICE if _USUAL_DEVICE in axes["device"] else axes["device"][0],
        "devices": FEWEST if FEWEST in axes["devices"] else axes["devices"][0],
        "bits": nominal_bits(str(axes["format"][0])),
        "compare": list(data.compare),
        "newest": True,
        "envelope": _envelope(data),
    }
    chosen |= {one.name: ANY for one in CONTROLS if one.any}
    for name in ("step", "series"):
        control = next(one for one in CONTROLS if one.name == name)
        weight: dict[str, tuple[int, float]] = {}
        for row in data.datasets[control.dataset]:
            if row["envelope"] == chosen["envelope"] and (value := row.get(control.field)):
                count, time_us = weight.get(value, (0, 0.0))
                # What was measured most often, and of that what takes longest, has most to say.
                weight[value] = (count + 1, max(time_us, (row.get("latency_us") or 0.0) * (row.get("count") or 1)))
        chosen[name] = max(weight, key=lambda one: weight[one], default=None)
    return chosen


def nominal_bits(format: str) -> int:
    """Bits of a value without scales."""
    return FORMAT_BITS[format.partition("_")[0]]


def _envelope(data: Data) -> str:
    """The machine that was measured last, else the one that others measured most."""
    rows: Sequence[Any] = data.datasets["kernels"]
    measured = [row for row in rows if row["from"].startswith("record:")]
    return str(measured[-1]["envelope"] if measured else Counter(row["envelope"] for row in rows).most_common(1)[0][0])
