"""One kernel over time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    base = alt.Chart(alt.NamedData("rows")).encode(
        x=alt.X(
            "date:T",
            title="measured (UTC)",
            scale=alt.Scale(type="utc", padding=20),
            axis=alt.Axis(tickCount=5, labelExpr="[utcFormat(datum.value, '%Y-%m-%d'), utcFormat(datum.value, '%H:%M')]"),
        )
    )
    share = alt.Y(
        "fraction:Q", title="share of the ceiling", axis=alt.Axis(format=".3~p", tickCount=5), scale=alt.Scale(zero=False)
    )
    line = base.mark_line(strokeWidth=1.5, color=BLUE).encode(y=share)
    spread = base.mark_rule(strokeWidth=2, opacity=0.7, color=BLUE).encode(y=alt.Y("fraction_low:Q"), y2="fraction_high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1, color=BLUE, tooltip=alt.TooltipContent("data")).encode(y=share)
    return alt.layer(line, spread, point)


PLOT = Plot(
    "history",
    "Regression history",
    "One kernel on one machine, run after run, with 95 % intervals. The share of the ceiling is shown because the speed of a "
    "shared machine drifts and the ceilings drift with it. roofcast gate says whether a change is one: the table has its "
    "verdict on a commit.",
    "kernels",
    {"rows": Source("kernels", {"series": "series", "envelope": "envelope"}, needs=("fraction",))},
    (
        Column("date", "measured"),
        Column("fraction", "of ceiling (95 %)", ends=("fraction_low", "fraction_high"), percent=True),
        Column("latency_us", "latency (us, 95 %)", ends=("latency_low_us", "latency_high_us")),
        Column("commit", "commit"),
        Column("gate", "gate's verdict"),
    ),
    _draw,
    "Nothing was measured here yet: roofcast bench",
    height=260,
)
