"""Kernels under the roofs of the machine that they ran on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, GREEN, VERMILION, log_axis

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    intensity = alt.X(
        "intensity:Q",
        title="arithmetic intensity (FLOP per byte)",
        axis=log_axis(),
        scale=alt.Scale(type="log", nice=False, padding=8),
    )
    rate = alt.Y("gflops:Q", title="GFLOP/s", axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=12))
    roof = (
        alt.Chart(alt.NamedData("roofs"))
        .mark_line(strokeWidth=1.5, color="#76808c")
        .encode(x=intensity, y=rate, strokeDash=alt.StrokeDash("roof:N", title="roof", sort=None))
    )
    bound = alt.Color(
        "bound:N", title="bound", scale=alt.Scale(domain=["memory", "compute", "latency"], range=[BLUE, VERMILION, GREEN])
    )
    kernels = alt.Chart(alt.NamedData("rows")).encode(x=intensity, color=bound)
    spread = kernels.mark_rule(strokeWidth=1.5, opacity=0.8).encode(y=alt.Y("gflops_low:Q"), y2="gflops_high:Q")
    point = kernels.mark_point(filled=True, size=60, opacity=0.8, tooltip=alt.TooltipContent("data")).encode(
        y=rate, shape=alt.Shape("bound:N", title="bound", scale=alt.Scale(domain=["memory", "compute", "latency"]))
    )
    return alt.layer(roof, spread, point).resolve_scale(strokeDash="independent")


PLOT = Plot(
    "roofline",
    "Roofline",
    "Every kernel at its arithmetic intensity and the rate it reached, with the spread of its latency, under the roofs of its "
    "machine: those measured beside it, or the specification's. Calls without arithmetic have no place here.",
    "kernels",
    {
        "rows": Source(
            "kernels",
            {"envelope": "envelope", "op": "op", "format": "kernel_format", "context": "kernel_context", "newest": "newest"},
            needs=("intensity", "gflops"),
        ),
        "roofs": Source("roofs", {"envelope": "envelope"}),
    },
    (
        Column("kernel", "kernel"),
        Column("code", "code"),
        Column("format", "format"),
        Column("latency_us", "latency (us, 95 %)", ends=("latency_low_us", "latency_high_us")),
        Column("bandwidth_gbs", "rate (GB/s)"),
        Column("intensity", "FLOP/B"),
        Column("gflops", "GFLOP/s"),
        Column("fraction", "of ceiling (95 %)", ends=("fraction_low", "fraction_high"), percent=True),
        Column("bound", "bound"),
    ),
    _draw,
    "No kernel matches.",
    height=380,
)
