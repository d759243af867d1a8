"""What a million tokens cost on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, log_axis

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    base = alt.Chart(alt.NamedData("rows")).encode(y=alt.Y("device:N", sort=alt.SortField("cost_point"), title=None))
    interval = base.mark_rule(strokeWidth=2, opacity=0.75, color=BLUE).encode(x=alt.X("cost_low:Q"), x2="cost_high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1, color=BLUE, tooltip=alt.TooltipContent("data")).encode(
        x=alt.X(
            "cost_point:Q", title="per million tokens", axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=12)
        )
    )
    return alt.layer(interval, point)


PLOT = Plot(
    "cost",
    "Cost of a million tokens by machine",
    "In device-hours: times the price of one device and hour it is the cost of a million tokens at batch 1. Where the report "
    "was made with price=, it is that cost.",
    "predictions",
    {"rows": Source("speeds", {"model": "model", "format": "format", "context": "context"})},
    (
        Column("device", "machine"),
        Column("chips", "devices"),
        Column("cost_point", "per million tokens (80 %)", ends=("cost_low", "cost_high")),
    ),
    _draw,
    "No machine holds this model.",
    height=19,
    per=("device",),
)
