"""Joules per token on every machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, VERMILION, log_axis

if TYPE_CHECKING:
    import altair as alt


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    basis = alt.Color("power:N", title="power", scale=alt.Scale(domain=["typical", "peak"], range=[BLUE, VERMILION]))
    base = alt.Chart(alt.NamedData("rows")).encode(
        y=alt.Y("device:N", sort=None, title=None), yOffset=alt.YOffset("power:N", sort=["typical", "peak"]), color=basis
    )
    interval = base.mark_rule(strokeWidth=2, opacity=0.75).encode(x=alt.X("low:Q"), x2="high:Q")
    point = base.mark_point(filled=True, size=55, opacity=1, tooltip=alt.TooltipContent("data")).encode(
        x=alt.X("point:Q", title="joules per token", axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=12)),
        shape=alt.Shape("power:N", title="power", scale=alt.Scale(domain=["typical", "peak"])),
    )
    return alt.layer(interval, point)


PLOT = Plot(
    "energy",
    "Joules per token by machine",
    "Power over speed, both doubts together. Typical and peak power are two bases: never set a figure of one against one of "
    "the other. Power is a node's share where the node's is known, else that of the chips alone.",
    "predictions",
    {"rows": Source("energies", {"model": "model", "format": "format", "context": "context"})},
    (
        Column("device", "machine"),
        Column("chips", "devices"),
        Column("power", "power"),
        Column("watts", "power (W)"),
        Column("point", "J/token (80 %)", ends=("low", "high")),
        Column("of", "of"),
    ),
    _draw,
    "No machine of known power holds this model.",
    height=24,
    per=("device",),
)
