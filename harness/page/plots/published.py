"""Predicted against published speeds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import coloured_legend, log_axis

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    rows = alt.Chart(alt.NamedData("rows"))
    scale = alt.Scale(type="log", nice=False, padding=10)
    given = alt.X("published:Q", title="published (tok/s)", axis=log_axis(), scale=scale)
    kind = alt.Color("kind:N", legend=None)
    same = rows.mark_line(strokeDash=[4, 3], strokeWidth=1.5, color="#76808c").encode(x=given, y=alt.Y("published:Q"))
    interval = rows.mark_rule(strokeWidth=1.5, opacity=0.55).encode(x=given, y=alt.Y("low:Q"), y2="high:Q", color=kind)
    point = rows.mark_point(filled=True, size=48, opacity=0.9, tooltip=alt.TooltipContent("data")).encode(
        x=given,
        y=alt.Y("predicted:Q", title="predicted (tok/s)", axis=log_axis(), scale=scale),
        color=kind,
        shape=alt.Shape("kind:N", title="machine", legend=coloured_legend()),
    )
    return alt.layer(same, interval, point)


PLOT = Plot(
    "published",
    "Predicted against published",
    "Each published decode speed beside the prediction, with its 80 % interval, of a fit that has not seen it: all rows of one "
    "hardware and model are held out together. On the dashed line both are equal.",
    "validation",
    {"rows": Source("published", {"hardware": "hardware"}, needs=("predicted",))},
    (
        Column("hardware", "hardware"),
        Column("published_model", "model"),
        Column("engine", "engine"),
        Column("published", "published (tok/s)"),
        Column("predicted", "predicted (80 %)", ends=("low", "high")),
        Column("error", "error", percent=True),
        Column("inside", "inside"),
    ),
    _draw,
    "No published speed matches.",
    height=420,
)
