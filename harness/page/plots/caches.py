"""The memory mountain of a machine, with the levels that it shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, GREY, VERMILION, log_axis

if TYPE_CHECKING:
    import altair as alt

_BYTES = (
    "datum.value >= 1073741824 ? datum.value / 1073741824 + ' GiB' : "
    "datum.value >= 1048576 ? datum.value / 1048576 + ' MiB' : datum.value / 1024 + ' KiB'"
)


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    size = alt.X(
        "size_bytes:Q",
        title="working set",
        scale=alt.Scale(type="log", base=2, nice=False, padding=12),
        axis=alt.Axis(labelExpr=_BYTES, tickCount=8, labelOverlap="greedy"),
    )
    rate = alt.Y("gbs:Q", title="read (GB/s)", axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=16))
    sets = alt.Chart(alt.NamedData("rows")).encode(x=size)
    band = sets.mark_area(color=BLUE, opacity=0.25).encode(y=alt.Y("low_gbs:Q"), y2="high_gbs:Q")
    line = sets.mark_line(strokeWidth=1.5, color=BLUE).encode(y=rate)
    point = sets.mark_point(filled=True, size=50, opacity=1, color=BLUE, tooltip=alt.TooltipContent("data")).encode(y=rate)
    kinds, legend = ["measured", "told by the machine"], alt.Legend(symbolType="stroke")
    ends = alt.Chart(alt.NamedData("ends")).encode(
        x=size,
        color=alt.Color("end:N", title="end of a level", scale=alt.Scale(domain=kinds, range=[VERMILION, GREY]), legend=legend),
    )
    rule = ends.mark_rule(strokeWidth=1.5, tooltip=alt.TooltipContent("data")).encode(
        strokeDash=alt.StrokeDash(
            "end:N", title="end of a level", scale=alt.Scale(domain=kinds, range=[[1, 0], [5, 4]]), legend=legend
        )
    )
    measured, told = (ends.transform_filter(alt.datum.end == kind) for kind in kinds)
    name = {"align": "right", "dx": -4, "fontWeight": 600}
    above = measured.mark_text(dy=-4, **name).encode(y=alt.Y("top_gbs:Q"), text="level:N")
    below = told.mark_text(dy=12, **name).encode(y=alt.Y("top_gbs:Q"), text="level:N")
    return alt.layer(band, rule, line, point, above, below)


PLOT = Plot(
    "caches",
    "Caches as they are",
    "How fast working sets are read again and again, medians with the span from the 10th to the 90th percentile: each step "
    "down is the end of a cache. A solid line is where one was measured to end, a dashed one where the machine says it does.",
    "kernels",
    {"rows": Source("working_sets", {"envelope": "envelope"}), "ends": Source("level_ends", {"envelope": "envelope"})},
    (
        Column("size", "working set"),
        Column("gbs", "read (GB/s, 10th to 90th percentile)", ends=("low_gbs", "high_gbs")),
        Column("level", "level"),
    ),
    _draw,
    "No caches were measured on this machine: roofcast bench",
    height=300,
)
