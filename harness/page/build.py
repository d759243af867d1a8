"""The page as one text, and each plot as SVG and PNG."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from .. import page as here
from ..host.provenance import checkout, version_of
from ..words import figure
from .controls import CONTROLS, choices, nominal_bits
from .data import Data
from .foretold import FEWEST
from .lead import lead
from .plots import Plot, plots
from .plots.plot import ANY, rows_of
from .plots.theme import DARK, LIGHT, config

_SECTIONS = ("predictions", "kernels", "validation")
_EXPORT_WIDTH = 640
_PNG_SCALE = 2
_SHOWN_DIGITS = 10


def html(data: Data) -> str:
    """The page: markup, style, script, plots and data in one."""
    import jinja2

    chosen = choices(data)
    shown = plots(data.price)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_static),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["figure"] = figure
    code = checkout()
    return environment.get_template("page.html").render(
        data=data,
        sections=_SECTIONS,
        controls=CONTROLS,
        lead=lead(data),
        plots=shown,
        themes={"light": LIGHT, "dark": DARK},
        page=_in_script(
            {
                "plots": {one.name: _described(one) for one in shown},
                "controls": [asdict(one) for one in CONTROLS],
                "themes": {"light": config(LIGHT), "dark": config(DARK)},
                "any": ANY,
                "fewest": FEWEST,
                "choices": chosen,
                "bits": {name: nominal_bits(str(name)) for name in data.axes["format"]},
            }
        ),
        packed=pack(data),
        library=_library(),
        script=_static("page.js"),
        style=_static("page.css"),
        made=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        version=version_of("roofcast"),
        commit=code.commit[:_SHOWN_DIGITS] + (" with changes" if code.dirty else ""),
        untimed=[one for one in data.datasets["kernels"] if one["status"] != "ok"],
    )


def pack(data: Data) -> str:
    """What the script reads: JSON, compressed, in letters that HTML leaves alone."""
    content = {
        "datasets": {name: _columns(rows) for name, rows in data.datasets.items()},
        "words": asdict(data.words),
        "axes": data.axes,
        "prompt": data.prompt,
        "price": data.price,
        "machines": data.machines,
        "shapes": data.shapes,
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def alone(plot: Plot, rows: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, Any]:
    """A plot with its rows in Vega-Lite, on white."""
    spec = plot.spec()
    return spec | {
        "datasets": spec.get("datasets", {}) | rows,
        "width": _EXPORT_WIDTH,
        "height": plot.height_of(rows),
        "config": config(LIGHT) | {"background": "white"},
    }


def export(data: Data, folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Writes the plots that have rows, or those of some names, as SVG and PNG, on a light ground, as the page opens."""
    import vl_convert

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    chosen = choices(data)
    for plot in plots(data.price):
        if names and plot.name not in names:
            continue
        rows = {name: plot.drawn(rows_of(source, data.datasets, chosen)) for name, source in plot.sources.items()}
        if not next(iter(rows.values())):
            continue
        spec = alone(plot, rows)
        svg, png = folder / f"{plot.name}.svg", folder / f"{plot.name}.png"
        svg.write_text(vl_convert.vegalite_to_svg(spec), encoding="utf-8")
        png.write_bytes(vl_convert.vegalite_to_png(spec, scale=_PNG_SCALE))
        written += [svg, png]
    return written


def _described(plot: Plot) -> Mapping[str, Any]:
    return {
        "title": plot.title,
        "sources": {name: asdict(one) for name, one in plot.sources.items()},
        "columns": [asdict(one) for one in plot.columns],
        "empty": plot.empty,
        "most": plot.most,
        "height": plot.height,
        "per": plot.per,
        "spec": plot.spec(),
    }


def _columns(rows: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Rows as columns, which are read in a third of the time; words that come again and again are said once."""
    fields = dict.fromkeys(name for row in rows for name in row)
    return {"count": len(rows), "columns": {name: _column([row.get(name) for row in rows]) for name in fields}}


def _column(values: list[Any]) -> Any:
    words = {value: place for place, value in enumerate(dict.fromkeys(values))} if isinstance(values[0], str) else {}
    if not words or len(words) > len(values) / 4:
        return values
    return {"of": list(words), "at": [words[value] for value in values]}


def _static(name: str) -> str:
    return (files(here) / "static" / name).read_text(encoding="utf-8")


@cache
def _library() -> str:
    """Vega, Vega-Lite and Vega-Embed in one script that asks no network."""
    import vl_convert

    return vl_convert.javascript_bundle("window.vegaEmbed = vegaEmbed;").replace("</script", "<\\/script")


def _in_script(content: Any) -> str:
    """JSON that no end of a script element hides in."""
    return json.dumps(content, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
