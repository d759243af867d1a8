"""How near each kernel comes to what binds it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, GREEN, VERMILION

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    # Two measurements of one name, such as a cold and a warm one, are two lines.
    base = alt.Chart(alt.NamedData("rows")).transform_calculate(name="datum.kernel + '|' + datum.code + '|' + datum.from")
    label = "[replace(split(datum.label, '|')[0], ' context ', ' @ '), split(datum.label, '|')[1]]"
    kernel = alt.Y("name:N", sort=None, title=None, axis=alt.Axis(labelLimit=200, labelExpr=label))
    share = alt.X("fraction:Q", title="share of the ceiling", axis=alt.Axis(format=".0%"), scale=alt.Scale(domainMin=0))
    bound = alt.Color(
        "bound:N", title="bound", scale=alt.Scale(domain=["memory", "compute", "latency"], range=[BLUE, VERMILION, GREEN])
    )
    bar = base.mark_bar(cornerRadius=2, opacity=0.85, tooltip=alt.TooltipContent("data")).encode(x=share, y=kernel, color=bound)
    spread = base.mark_rule(strokeWidth=2).encode(x=alt.X("fraction_low:Q"), x2="fraction_high:Q", y=kernel)
    full = alt.Chart(alt.InlineData([{"full": 1}])).mark_rule(strokeDash=[4, 3]).encode(x="full:Q")
    return alt.layer(bar, spread, full)


PLOT = Plot(
    "ceiling",
    "Share of the ceiling",
    "Least time over measured time, each sample paired with the probes beside it, with its 95 % bootstrap interval. The dashed "
    "line is the ceiling; a kernel beyond it read memory that much faster than the probe. Of many, those measured last.",
    "kernels",
    {
        "rows": Source(
            "kernels",
            {"envelope": "envelope", "op": "op", "format": "kernel_format", "context": "kernel_context", "newest": "newest"},
            needs=("fraction",),
        )
    },
    (
        Column("kernel", "kernel"),
        Column("code", "code"),
        Column("fraction", "of ceiling (95 %)", ends=("fraction_low", "fraction_high"), percent=True),
        Column("floor_us", "floor (us)"),
        Column("latency_us", "latency (us, 95 %)", ends=("latency_low_us", "latency_high_us")),
        Column("bound", "bound"),
    ),
    _draw,
    "Nothing with a measured ceiling matches. Measure this machine: roofcast bench",
    most=30,
    height=32,
    per=("from",),
)
