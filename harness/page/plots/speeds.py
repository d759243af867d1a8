"""Tokens per second on every machine, with intervals, and what was published over them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .plot import Column, Plot, Source
from .theme import BLUE, GREEN, PURPLE, VERMILION, log_axis

if TYPE_CHECKING:
    import altair as alt


_BASES = ["fitted", "carried", "specification"]
_NEAR = 20


def _draw() -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    machine = alt.Y("device:N", sort=None, title=None)
    speed = alt.X(
        "point:Q", title="tokens per second at batch 1", axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=12)
    )
    base = alt.Chart(alt.NamedData("rows")).encode(y=machine)
    interval = base.mark_rule(strokeWidth=2, opacity=0.75).encode(x=alt.X("low:Q"), x2="high:Q", color=_basis(alt))
    point = base.mark_point(filled=True, size=60, opacity=1, tooltip=alt.TooltipContent("data")).encode(
        x=speed, color=_basis(alt), shape=alt.Shape("basis:N", title="prediction", scale=alt.Scale(domain=_BASES))
    )
    # Of memory on the chip the ceiling is a thousand times the speed: one scale for both would show neither.
    near = base.transform_filter(f"datum.ceiling < {_NEAR} * datum.high")
    ceiling = near.mark_tick(thickness=1.5, height=11, color="#76808c").encode(x="ceiling:Q")
    known = (
        alt.Chart(alt.NamedData("known"))
        .mark_point(shape="diamond", size=46, strokeWidth=1.6, filled=False, color=PURPLE, tooltip=alt.TooltipContent("data"))
        .encode(x="published:Q", y=machine)
    )
    # The first layer gives the machines their order.
    return alt.layer(interval, ceiling, point, known)


def _basis(alt: Any) -> alt.Color:
    return alt.Color("basis:N", title="prediction", scale=alt.Scale(domain=_BASES, range=[BLUE, VERMILION, GREEN]))


PLOT = Plot(
    "speeds",
    "Tokens per second by machine",
    "Predicted decode speed on the fewest devices that hold the model, with its 80 % interval: fitted to published speeds of "
    "that machine, carried from others of its platform, or from its specification. Grey ticks are physical ceilings, far ones "
    "left out. Diamonds are published speeds of the same model at the same bits, on any number of devices, by any engine.",
    "predictions",
    {
        "rows": Source("speeds", {"model": "model", "format": "format", "context": "context"}),
        "known": Source("published", {"model": "model", "nominal_bits": "bits"}, needs=("predicted",)),
    },
    (
        Column("device", "machine"),
        Column("chips", "devices"),
        Column("point", "tok/s (80 %)", ends=("low", "high")),
        Column("ceiling", "ceiling (tok/s)"),
        Column("bound", "bound"),
        Column("basis", "basis"),
    ),
    _draw,
    "No machine holds this model.",
    height=19,
    per=("device",),
)
