"""Speed over the context's length."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import coloured_legend, log_axis

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X(
            "context:Q", title="context (tokens)", scale=alt.Scale(type="log", base=2, nice=False), axis=alt.Axis(format=",d")
        ),
        color=alt.Color("device:N", sort=None, legend=None),
    )
    band = base.mark_area(opacity=0.12).encode(y=alt.Y("low:Q"), y2="high:Q")
    line = base.mark_line(strokeWidth=2).encode(
        y=alt.Y("point:Q", title="tokens per second", axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=8))
    )
    point = base.mark_point(filled=True, size=60, opacity=1, tooltip=alt.TooltipContent("data")).encode(
        y="point:Q", shape=alt.Shape("device:N", title="machine", sort=None, legend=coloured_legend())
    )
    return alt.layer(band, line, point)


PLOT = Plot(
    "context",
    "Speed over context",
    "The same model and format at every context, on some machines and the chosen one, each on the fewest devices that hold the "
    "model and its cache. A line steps where more devices become necessary.",
    "predictions",
    {"rows": Source("speeds", {"model": "model", "format": "format", "device": "device"}, also={"device": "compare"})},
    (
        Column("device", "machine"),
        Column("context", "context"),
        Column("chips", "devices"),
        Column("point", "tok/s (80 %)", ends=("low", "high")),
    ),
    _draw,
    "None of these machines holds this model.",
    height=320,
)
