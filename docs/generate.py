"""Pages and pictures made of code and data, so that they cannot be out of date: keys, accuracy, models, devices, formats."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from pictures import held, predicted_against_published, verdicts
from reference import keys
from roofcast.harness.calibrate.decode import EVIDENCE, parameters
from roofcast.harness.calibrate.effects import Effect, prior_of
from roofcast.harness.calibrate.kernels import rows as kernel_rows
from roofcast.harness.facts.catalogue import facts, names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.models import model_named
from roofcast.harness.report import kernels as kernel_report
from roofcast.harness.report.table import Column, Table
from roofcast.harness.report.validation import table as validation_table
from roofcast.harness.validation.kernels import validate as validate_kernels
from roofcast.harness.words import figure
from roofcast.kernels.formats import format_named, format_names
from shared import page, table

KEPT = Path(__file__).parent.parent / "results"


def write(folder: Path) -> None:
    """Writes every generated page under `folder`."""
    for path, made in PAGES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = made()
        # An unchanged page keeps its time, so that Sphinx builds nothing anew.
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    for old in (folder / "generated").glob("*.md"):
        if f"generated/{old.name}" not in PAGES:
            old.unlink()


def accuracy() -> str:
    """How far predictions are off, computed while the site is built; and what takes longer, from `results/`."""
    kernels = validate_kernels(kernel_rows.evidence(), [])
    return page(
        [
            "# Accuracy",
            "How far predictions are off, and what 80 % intervals held. Every figure is for rows that the fit had not seen. "
            "An error is predicted over published, less 1; its size is shown. [How to read it](../reading.md).",
            "## Published decode speeds",
            "This is what `roofcast validate` prints, computed when this page was built. Five folds; all rows of one hardware "
            "and model are held out together.",
            "![Predicted speed over published speed, a point for each, most of them near the diagonal](published.svg)",
            "![Share of published speeds inside their intervals, a bar for each hardware](coverage.svg)",
            table(validation_table(verdicts(), EVIDENCE)),
            "## Machines, kinds of machines and engines that no fit has seen",
            "This is what `roofcast validate leave_one_out=true` printed; it is kept in `results/leave_one_out.txt`.",
            f"```text\n{(KEPT / 'leave_one_out.txt').read_text(encoding='utf-8').strip()}\n```",
            "## Kernels of other engines",
            "This is what `roofcast validate kernels=own` prints, computed when this page was built: each chip is predicted "
            "from the others and its specification.",
            table(kernel_report.table(kernels, kernel_rows.EVIDENCE)),
            "## What this does not say",
            "The time to the first token, power and energy are not validated: too little is published. Whole steps of your own "
            "machine are validated by `roofcast validate steps=own`, from your own measurements.",
        ]
    )


def parameters_page() -> str:
    """Every parameter of the decode model: what was believed, on what grounds, and what the evidence made of it."""
    given = parameters()
    rows = []
    for one in given["parameters"]:
        before = prior_of(Effect(one["term"], one["family"], one["level"]))
        figures = (before.mean, before.sd, one["value"], one["sd"])
        rows.append([one["term"], one["family"], one["level"], *(f"{value:.2f}" for value in figures), before.why])
    columns = [
        Column("term", text=True),
        Column("family", text=True),
        Column("of", text=True),
        Column("prior mean"),
        Column("prior sd"),
        Column("fitted"),
        Column("sd"),
        Column("what the prior rests on", text=True),
    ]
    units = "\n".join(f"- `{term}`: {unit}" for term, unit in given["units"].items())
    doubt = given["doubt"]
    widening = ", ".join(f"{how} {factor:g}" for how, factor in doubt["widening"].items())
    return page(
        [
            "# Parameters of the decode model",
            "From `harness/calibrate/decode.yaml` and `harness/calibrate/effects.py`. [What they mean](../method.md).",
            units,
            f"Scatter: {doubt['benchmark']:g} of benchmarks, {doubt['undisclosed']:g} where something is not disclosed, "
            f"as standard deviations of log time. Widening: {widening}.",
            table(Table("", columns, rows)),
        ]
    )


def models() -> str:
    """Every model with its shape and where that comes from."""
    rows = []
    for name in names("model"):
        model, known = model_named(name), facts("model", name)
        rows.append(
            [name, model.family, str(model.layers), str(model.d_model), f"{model.heads}/{model.kv_heads}",
             figure(known["counted"]["params_b"]), figure(known.get("published_params_b")), str(known["source"]),
             str(known["confidence"])]
        )  # fmt: skip
    columns = [
        Column("name", text=True), Column("family", text=True), Column("layers"), Column("d_model"), Column("heads/KV heads"),
        Column("parameters counted", "10^9"), Column("published", "10^9"), Column("source of the shape", text=True),
        Column("confidence", text=True),
    ]  # fmt: skip
    return page(
        [
            "# Models",
            f"{len(rows)} models of `conf/model/`. Any spelling of a name is found. [Add a model](../tutorials/model.md).",
            table(Table("", columns, rows)),
        ]
    )


def devices() -> str:
    """Every device with its main figures and their sources."""
    rows = []
    for name in names("device"):
        device = device_named(name)
        sources = dict.fromkeys(f"{quantity.source} ({quantity.basis})" for _, quantity in device.quantities())
        peak = device.peak_tflops.get("f16") or device.peak_tflops.get("bf16")
        rows.append(
            [name, device.kind, figure(device.capacity_gb), figure(device.main.bandwidth_gbs.value),
             figure(peak.value if peak else None), figure(device.power_peak_w.value if device.power_peak_w else None),
             "; ".join(sources)]
        )  # fmt: skip
    columns = [
        Column("name", text=True), Column("kind", text=True), Column("memory", "GB"), Column("peak bandwidth", "GB/s"),
        Column("dense f16 peak", "TFLOP/s"), Column("peak power", "W"), Column("sources, and what they are", text=True),
    ]  # fmt: skip
    return page(
        [
            "# Devices",
            f"{len(rows)} machines of `conf/device/`. Every figure has its source, date and basis in its file; "
            "`roofcast report` shows them figure by figure. A basis of `recalled` means that no document was found. "
            "[Add a chip](../tutorials/chip.md).",
            table(Table("", columns, rows)),
        ]
    )


def formats() -> str:
    """Every number format with its true width."""
    rows = []
    for name in format_names("weight"):
        one = format_named(name)
        true_bits = 8 * one.nbytes((4096, 4096)) / 4096**2
        rows.append([f"`{name}`", f"{true_bits:g}", ", ".join(one.roles), _first_line(one)])
    columns = [
        Column("name", text=True),
        Column("bits per element"),
        Column("may hold", text=True),
        Column("what it is", text=True),
    ]
    return page(
        [
            "# Number formats",
            "Bits are those of a 4096 x 4096 matrix, scales included. Each is a file of `kernels/formats/`.",
            table(Table("", columns, rows)),
        ]
    )


def _first_line(one: object) -> str:
    """Of the module that a thing's class is in."""
    return (sys.modules[type(one).__module__].__doc__ or "").splitlines()[0]


def contributing() -> str:
    """The guide of the repository's root, as a page."""
    return (KEPT.parent / "CONTRIBUTING.md").read_text(encoding="utf-8")


def results() -> str:
    """The list of the runs that are kept, as a page; its links go to those that are pages."""
    text = (KEPT / "README.md").read_text(encoding="utf-8")
    return re.sub(r"\[([^]]+)\]\((?!(?:claims|predict)\.md)[^)]+\)", r"`\1`", text)


def claims() -> str:
    """The kept table of an article's statements, as a page."""
    text = (KEPT / "claims.md").read_text(encoding="utf-8")
    return "# What an article's figures come to\n\n" + text.replace("### ", "## ")


def predict() -> str:
    """The kept answer of `predict`, as a page."""
    text = (KEPT / "predict.md").read_text(encoding="utf-8")
    return "# An answer of predict\n\n" + text.replace("### ", "## ")


PAGES: Mapping[str, Callable[[], str]] = {
    "generated/keys.md": keys,
    "generated/accuracy.md": accuracy,
    "generated/published.svg": predicted_against_published,
    "generated/coverage.svg": held,
    "generated/parameters.md": parameters_page,
    "generated/models.md": models,
    "generated/devices.md": devices,
    "generated/formats.md": formats,
    "generated/contributing.md": contributing,
    "generated/results.md": results,
    "generated/claims.md": claims,
    "generated/predict.md": predict,
}
"""Page or picture -> what makes it."""
