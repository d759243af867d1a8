"""`roofcast report`: one HTML file with every plot, prediction, claim and source. Measures nothing, imports no JAX."""

from __future__ import annotations

from pathlib import Path

from omegaconf import DictConfig

from ...kernels.formats import format_names
from ..errors import UsageError, chosen
from ..facts.catalogue import names, resolve
from ..facts.devices import device_named
from ..page.data import gather
from ..page.grid import Grid, models
from ..report.output import checked, write_text
from ..report.progress import Progress
from ..shown import warn
from ..store.store import Store


def run(config: DictConfig) -> int:
    """Writes the page, and the plots where `plots` says. Returns 1 if some files of the store cannot be read.

    Raises:
        UsageError: for a value that cannot be; names field, value and what is accepted.
    """
    output = checked(config.output, (".html",))
    if output is None:
        raise UsageError("output must be a file ending in .html; got nothing")
    grid = grid_of(config)
    compare = [resolve("device", one) for one in config.compare]
    with Progress() as progress:
        progress("predicting", 0.0)
        data = gather(Store(config.results), grid, compare)
        progress("drawing", 0.8)
        # Plotting takes a second to import, which nothing that fails before should pay.
        from ..page.build import export, html

        write_text(html(data), output)
    measured = f"{data.measured} measurements" if data.measured else f"no measurements in {config.results!r} (roofcast bench)"
    print(f"{output}: {measured}, {len(data.words.cells):,} predictions, {output.stat().st_size / 1e6:.1f} MB")
    if config.plots is not None:
        written = export(data, Path(config.plots).expanduser())
        print(f"{config.plots}: {len(written)} files")
    if data.unreadable:
        warn(data.unreadable)
    return int(bool(data.unreadable))


def grid_of(config: DictConfig) -> Grid:
    """What the page can be asked.

    Raises:
        UsageError: for a list that is empty or holds what is not known.
    """
    for name in ("models", "formats", "contexts"):
        if not config[name]:
            raise UsageError(f"{name} must hold at least one entry; got none")
    for name in ("contexts", "devices"):
        for one in config[name]:
            if one < 1:
                raise UsageError(f"{name} must hold whole numbers from 1; got {one}")
    if config.prompt < 1:
        raise UsageError(f"prompt must be a whole number from 1; got {config.prompt}")
    return Grid(
        models(config.models),
        tuple(map(device_named, names("device"))),
        tuple(dict.fromkeys(chosen("formats", one, format_names("weight")) for one in config.formats)),
        tuple(sorted(set(config.contexts))),
        (None, *sorted(set(config.devices))),
        config.prompt,
        config.price,
    )
