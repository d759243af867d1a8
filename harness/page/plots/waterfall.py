"""Where each microsecond of a token goes on one machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, GREY

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    base = alt.Chart(alt.NamedData("rows")).encode(y=alt.Y("term:N", sort=None, title=None))
    bar = base.mark_bar(cornerRadius=2, tooltip=alt.TooltipContent("data")).encode(
        x=alt.X("start_ms:Q", title="milliseconds since the token began", scale=alt.Scale(nice=False, padding=2)),
        x2="end_ms:Q",
        color=alt.condition(alt.datum.term == "whole token", alt.value(GREY), alt.value(BLUE)),
    )
    share = base.mark_text(align="left", dx=4).encode(x="end_ms:Q", text=alt.Text("share:Q", format=".1%"))
    return alt.layer(bar, share)


PLOT = Plot(
    "waterfall",
    "Where a token's time goes",
    "One predicted decode step on the fewest devices of the chosen machine that hold the model: reading the weights and the KV "
    "cache (kv), then what every layer, and the devices among themselves, wait for.",
    "predictions",
    {"rows": Source("falls", {"model": "model", "format": "format", "context": "context", "device": "device"})},
    (
        Column("term", "term"),
        Column("time_us", "time (us)"),
        Column("share", "share", percent=True),
    ),
    _draw,
    "This machine does not hold this model.",
    height=28,
    per=("term",),
)

MEASURED = Plot(
    "measured",
    "Where a measured token's time goes",
    "The kernels of one decode step as this store measured them, each as often as a token needs it, by op. Of several "
    "implementations the fastest counts.",
    "kernels",
    {"rows": Source("measured", {"envelope": "envelope", "step": "step"})},
    PLOT.columns,
    _draw,
    "No step was measured on this machine. Measure one: roofcast bench",
    height=28,
    per=("term",),
)
