"""What a million tokens cost on every machine."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from .plot import Column, Plot, Source
from .theme import BLUE, log_axis

if TYPE_CHECKING:
    import altair as alt


def _draw(unit: str) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    base = alt.Chart(alt.NamedData("rows")).encode(y=alt.Y("device:N", sort=alt.SortField("cost_point"), title=None))
    interval = base.mark_rule(strokeWidth=2, opacity=0.75, color=BLUE).encode(x=alt.X("cost_low:Q"), x2="cost_high:Q")
    point = base.mark_point(filled=True, size=60, opacity=1, color=BLUE, tooltip=alt.TooltipContent("data")).encode(
        x=alt.X("cost_point:Q", title=unit, axis=log_axis(), scale=alt.Scale(type="log", nice=False, padding=12))
    )
    return alt.layer(interval, point)


def plot(price: float | None) -> Plot:
    """The plot in the unit that the page was made with: device-hours, or the currency of a price of one device and hour."""
    if price is None:
        unit = "device-hours per million tokens"
        about = "At batch 1, on the fewest devices. Times what one device costs an hour it is the price of a million tokens."
    else:
        unit = "cost of a million tokens"
        about = f"At batch 1, on the fewest devices, each at {price:g} an hour, whatever the machine."
    return Plot(
        "cost",
        "Cost of a million tokens by machine",
        about,
        "predictions",
        {"rows": Source("speeds", {"model": "model", "format": "format", "context": "context"})},
        (
            Column("device", "machine"),
            Column("chips", "devices"),
            Column("cost_point", f"{unit} (80 %)", ends=("cost_low", "cost_high")),
        ),
        partial(_draw, unit),
        "No machine holds this model.",
        height=19,
        per=("device",),
    )
