"""Colours, shapes and sizes of every plot.

The hues are those of Okabe and Ito (jfly.uni-koeln.de/color), which people with any of the usual colour blindnesses tell
apart, each made dark or light enough to stand out at 3:1 from white and from the page's dark ground alike. No plot says
anything by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BLUE, VERMILION, GREEN, PURPLE, AMBER, VIOLET, GREY = (
    "#2b7bba", "#d55e00", "#00916a", "#b5629a", "#a87400", "#7b68d4", "#76808c",
)  # fmt: skip
COLOURS: Sequence[str] = (BLUE, VERMILION, GREEN, PURPLE, AMBER, VIOLET, GREY)
SHAPES: Sequence[str] = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")

LIGHT = {"ink": "#1b1f24", "muted": "#57606a", "grid": "#dfe3e8", "ground": "#ffffff"}
DARK = {"ink": "#e8ebef", "muted": "#a3adb8", "grid": "#333a43", "ground": "#14181d"}


_POWER_OF_TEN = "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) < 1e-6"


def log_axis(**more: Any) -> dict[str, Any]:
    """An axis of a logarithmic scale whose grid is drawn at powers of ten, faintly between them."""
    return {
        "gridOpacity": {"condition": {"test": _POWER_OF_TEN, "value": 1}, "value": 0.3},
        "labelFlush": 20,
        "labelOverlap": "greedy",
        **more,
    }


def coloured_legend() -> dict[str, Any]:
    """A legend of shapes, each in its colour: Vega-Lite joins no legends of layers that do not all have both."""
    fill = {"expr": "scale('color', datum.value)"}
    return {"symbolFillColor": fill, "symbolStrokeColor": fill}


def config(theme: Mapping[str, str]) -> dict[str, Any]:
    """Vega-Lite configuration in the colours of a theme."""
    text = {"labelColor": theme["muted"], "titleColor": theme["ink"], "labelFontSize": 12, "titleFontSize": 12}
    return {
        "background": "transparent",
        "font": "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif",
        # The figure around a chart names it, and the table under it holds its values: marks need no names of their own.
        "aria": False,
        "view": {"stroke": None},
        "axis": text
        | {"gridColor": theme["grid"], "domainColor": theme["muted"], "tickColor": theme["muted"], "titleFontWeight": 500,
           "labelLimit": 150, "labelOverlap": True, "labelSeparation": 6},
        "legend": text
        | {"orient": "bottom", "columns": 3, "layout": {"bottom": {"direction": "vertical", "anchor": "start"}},
           "symbolSize": 90, "symbolOpacity": 1, "labelLimit": 150},
        "text": {"color": theme["ink"], "fontSize": 12},
        "rule": {"color": theme["ink"]},
        "range": {"category": list(COLOURS), "symbol": list(SHAPES)},
    }  # fmt: skip
