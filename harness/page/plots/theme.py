"""Colours, shapes and sizes of every plot.

The hues are those of Okabe and Ito (jfly.uni-koeln.de/color), which people with any of the usual colour blindnesses tell
apart, each made dark or light enough to stand out at 3:1 from white and from the page's dark ground alike. No plot says
anything by colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

BLUE, VERMILION, GREEN, PURPLE, AMBER, GREY = "#2b7bba", "#d55e00", "#00916a", "#b5629a", "#a87400", "#76808c"
COLOURS: Sequence[str] = (BLUE, VERMILION, GREEN, PURPLE, AMBER, GREY)
SHAPES: Sequence[str] = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down")
DASHES: Sequence[Sequence[int]] = ((1, 0), (6, 3), (2, 2), (8, 3, 2, 3), (4, 4), (10, 4))

LIGHT = {"ink": "#1b1f24", "muted": "#57606a", "grid": "#dfe3e8", "ground": "#ffffff"}
DARK = {"ink": "#e8ebef", "muted": "#a3adb8", "grid": "#333a43", "ground": "#14181d"}


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
           "labelLimit": 150, "labelOverlap": True},
        "legend": text | {"orient": "bottom", "columns": 3, "symbolSize": 90, "labelLimit": 150},
        "text": {"color": theme["ink"], "fontSize": 12},
        "rule": {"color": theme["ink"]},
        "range": {"category": list(COLOURS), "symbol": list(SHAPES)},
    }  # fmt: skip
