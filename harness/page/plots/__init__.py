"""Plots of the page, one module each, in the order in which they are shown."""

from . import ceiling, context, cost, coverage, energy, history, published, roofline, speeds, waterfall
from .plot import Plot

__all__ = ["PLOTS", "Plot"]

PLOTS: tuple[Plot, ...] = (
    waterfall.PLOT,
    context.PLOT,
    speeds.PLOT,
    energy.PLOT,
    cost.PLOT,
    roofline.PLOT,
    ceiling.PLOT,
    waterfall.MEASURED,
    history.PLOT,
    published.PLOT,
    coverage.PLOT,
)
