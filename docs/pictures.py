"""Plots of `roofcast report` in the site, drawn of today's data."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from typing import Any

import vl_convert
from roofcast import conf
from roofcast.harness.calibrate.decode import EVIDENCE
from roofcast.harness.calibrate.published import read
from roofcast.harness.page.build import alone
from roofcast.harness.page.known import coverage, judged
from roofcast.harness.page.plots import PLOTS
from roofcast.harness.validation.published import Verdict, validate


@cache
def verdicts() -> Sequence[Verdict]:
    """Every published speed beside the prediction of a fit that has not seen it."""
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        return validate(*read(file))


def predicted_against_published() -> str:
    """Every published speed over its prediction, as SVG."""
    return _drawn("published", [row for row in judged(verdicts()) if row.get("predicted") is not None])


def held() -> str:
    """What intervals held, by hardware, as SVG."""
    return _drawn("coverage", coverage(judged(verdicts())))


def _drawn(name: str, rows: Sequence[Any]) -> str:
    plot = next(one for one in PLOTS if one.name == name)
    return vl_convert.vegalite_to_svg(alone(plot, {"rows": rows}))
