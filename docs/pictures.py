"""Plots of `roofcast report` in the site, drawn of today's data."""

from __future__ import annotations

from functools import cache

import vl_convert
from roofcast.harness.page.build import alone
from roofcast.harness.page.known import coverage, published
from roofcast.harness.page.plots import PLOTS


@cache
def _rows():
    return published()


def picture(name: str, rows: list) -> str:
    """A plot by its name as SVG."""
    plot = next(one for one in PLOTS if one.name == name)
    kept = [
        row for row in rows if all(row.get(field) is not None for source in plot.sources.values() for field in source.needs)
    ]
    return vl_convert.vegalite_to_svg(alone(plot, {"rows": kept}))


def predicted_against_published() -> str:
    """Every published speed beside its prediction."""
    return picture("published", _rows())


def held() -> str:
    """What intervals held, by hardware."""
    return picture("coverage", coverage(_rows()))
