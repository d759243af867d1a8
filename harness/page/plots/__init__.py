"""Plots of the page, one module each, in the order in which they are shown."""

from . import caches, ceiling, context, cost, coverage, energy, history, published, roofline, speeds, waterfall
from .plot import Plot

__all__ = ["PLOTS", "Plot", "plots"]


def plots(price: float | None) -> tuple[Plot, ...]:
    """All of them, with costs at a price of one device and hour, or in device-hours."""
    return (
        waterfall.PLOT,
        speeds.PLOT,
        context.PLOT,
        energy.PLOT,
        cost.plot(price),
        roofline.PLOT,
        ceiling.PLOT,
        caches.PLOT,
        waterfall.MEASURED,
        history.PLOT,
        published.PLOT,
        coverage.PLOT,
    )


PLOTS = plots(None)
