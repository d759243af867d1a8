"""How often an 80 % interval held the published speed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    base = alt.Chart(alt.NamedData("rows")).encode(y=alt.Y("hardware:N", sort=None, title=None))
    bar = base.mark_bar(cornerRadius=2, opacity=0.85, color=BLUE, tooltip=alt.TooltipContent("data")).encode(
        x=alt.X(
            "share:Q",
            title="inside the 80 % interval",
            axis=alt.Axis(format=".0%"),
            scale=alt.Scale(domain=[0, 1]),
        )
    )
    count = base.mark_text(align="left", dx=4).encode(x=alt.datum(1), text=alt.Text("said:N"))
    aim = alt.Chart(alt.InlineData([{"aim": 0.8}])).mark_rule(strokeDash=[4, 3]).encode(x="aim:Q")
    counted = count.transform_calculate(said="datum.inside + ' of ' + datum.rows")
    return alt.layer(bar, counted, aim)


PLOT = Plot(
    "coverage",
    "Coverage",
    "Of the published speeds of each hardware label, how many lay in their 80 % interval, of how many. The dashed line is "
    "where calibrated intervals lie on average; a handful of rows says little.",
    "validation",
    {"rows": Source("coverage")},
    (
        Column("hardware", "hardware"),
        Column("rows", "rows"),
        Column("share", "inside", percent=True),
        Column("median_error", "median error", percent=True),
    ),
    _draw,
    "No published speed was predicted.",
    height=21,
    per=("hardware",),
)
