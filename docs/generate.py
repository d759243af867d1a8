"""Pages that are made of code and data, so that they cannot be out of date: keys, accuracy, models, devices, formats."""

from __future__ import annotations

import dataclasses
import re
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from importlib.resources import files
from pathlib import Path

import yaml
from roofcast import conf
from roofcast.harness.calibrate.decode import EVIDENCE, parameters
from roofcast.harness.calibrate.effects import Effect, prior_of
from roofcast.harness.calibrate.kernels import rows as kernel_rows
from roofcast.harness.calibrate.published import read
from roofcast.harness.catalogue import facts, names
from roofcast.harness.cli import VERBS
from roofcast.harness.config import SCHEMAS
from roofcast.harness.devices import device_named
from roofcast.harness.exits import typed
from roofcast.harness.kernel_validation import validate as validate_kernels
from roofcast.harness.models import model_named
from roofcast.harness.report import kernels as kernel_report
from roofcast.harness.report.table import Column, Table, markdown
from roofcast.harness.report.validation import table as validation_table
from roofcast.harness.report.words import figure
from roofcast.harness.validation import validate
from roofcast.kernels.formats import format_named, format_names

KEPT = Path(__file__).parent.parent / "results"
GROUPS: Mapping[str, str] = {
    "model": "the transformer: a name of the [models](models.md) in any spelling, a Hugging Face `config.json`, or a YAML file",
    "format": "number formats of weights, KV cache and activations: a name of the [formats](formats.md)",
    "format.weight": "format of the weights alone",
    "format.kv": "format of the KV cache alone; where only `format` is given, that of the weights, or bf16",
    "format.activation": "format of what passes between the kernels",
    "kernel": "ops to measure: `all`, `step` (all of them and the whole step), or one folder of `kernels/`",
    "kernel.ops": "a list of ops, such as `[gemv,attention]`; `[step]` is the whole step alone",
    "timing": "how precisely to measure: `default`, `quick` or `thorough`",
    "device": "the machine: a name of the [devices](devices.md) in any spelling, a YAML file, or `here`",
    "experiment": "a file of `conf/experiment/`, which sets several keys at once",
    "only": "what a grid is narrowed to; `model=a,b*` is short for `only.model=[a,b*]`",
    "devices": "how many of the device",
    "seed": "of every random number",
    "targets": "machines to carry the step to, each with how many: `8xH100_SXM`",
    "results": "folder of the store, or a bucket: `s3://bucket/prefix`",
    "output": "also write the tables to this file; the ending decides the form",
    "context": "tokens attended to, the new one included",
    "fused": "norms, gates and residual adds as part of the projections beside them",
    "sampling": "greedy | top_k | top_p",
    "price": "of one device and hour; without one no cost is given",
    "prompt": "tokens of the prompt that the time to the first token is for",
    "imported": "fit to speeds that were imported, too",
    "timing.budget_s": "seconds for all kernels together",
    "timing.max_samples": "samples of a kernel at the most",
}
"""What is said of a group of configuration files, or of a key whose file says nothing beside it."""
_COMMENTED = re.compile(r"^(?P<indent> *)(?P<key>\w+):(?P<value>[^#]*?)(?:#\s*(?P<comment>.*))?$")


def write(folder: Path) -> None:
    """Writes every generated page under `folder`."""
    for path, page in PAGES.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        text = page()
        # An unchanged page keeps its time, so that Sphinx builds nothing anew.
        if not target.exists() or target.read_text(encoding="utf-8") != text:
            target.write_text(text, encoding="utf-8")
    for old in (folder / "generated").glob("*.md"):
        if f"generated/{old.name}" not in PAGES:
            old.unlink()


def keys() -> str:
    """Every key of every verb: type, default, meaning; from the schemas and the comments beside the defaults."""
    parts = [
        "# Every key of every verb",
        "A key is given as `key=value`. `roofcast VERB --help` prints the same from the same files. Schemas are in "
        "`harness/config.py`, defaults in `conf/VERB.yaml`.",
    ]
    for verb, schema in SCHEMAS.items():
        parts += [f"## roofcast {typed(verb)}", f"{_sentence(VERBS[verb][1])}", _table(_keys_of(verb, schema))]
    return _page(parts)


def _keys_of(verb: str, schema: type) -> Table:
    defaults, comments = _described(verb)
    rows = [
        [f"`{name}`", kind, f"`{default}`" if default else "", meaning_of(name, comments)]
        for name, kind, default in _fields(schema, "", defaults)
    ]
    return Table("", [Column(one, text=True) for one in ("key", "takes", "default", "meaning")], rows)


def meaning_of(name: str, comments: Mapping[str, str]) -> str:
    """What a key means, from the comment beside its default, or from `GROUPS`.

    Raises:
        KeyError: if neither says; the build stops, and so does the test.
    """
    text = comments.get(name) or GROUPS[name if name in GROUPS else name.rpartition(".")[2]]
    return text.replace("|", "\\|")


def _fields(schema: type, prefix: str, defaults: Mapping[str, typing.Any]) -> Iterable[tuple[str, str, str]]:
    hints = typing.get_type_hints(schema)
    for one in dataclasses.fields(schema):
        name, kind = f"{prefix}{one.name}", hints[one.name]
        default = defaults.get(one.name)
        if dataclasses.is_dataclass(kind):
            chosen = default if isinstance(default, str) else ""
            yield name, "an entry, or keys" if chosen or name != "only" else "keys", chosen
            inner = _entry(name, default)
            yield from _fields(kind, f"{name}.", inner)  # type: ignore[arg-type]
        else:
            yield name, _kind(kind, one.name), _shown(default, one)


def _entry(group: str, default: typing.Any) -> Mapping[str, typing.Any]:
    """The values behind a group's default entry, where a file has them."""
    if isinstance(default, dict):
        return default
    file = files(conf) / group / f"{default}.yaml"
    return yaml.safe_load(file.read_text(encoding="utf-8")) if file.is_file() else {}


def _described(verb: str) -> tuple[Mapping[str, typing.Any], Mapping[str, str]]:
    """Defaults of a verb, its groups among them, and the comments beside them."""
    text = (files(conf) / f"{verb}.yaml").read_text(encoding="utf-8")
    loaded = yaml.safe_load(text)
    chosen = {key: value for one in loaded.pop("defaults") if isinstance(one, dict) for key, value in one.items()}
    comments = _comments(text)
    if "timing" in chosen:
        timing = (files(conf) / "timing" / f"{chosen['timing']}.yaml").read_text(encoding="utf-8")
        comments |= {f"timing.{name}": comment for name, comment in _comments(timing).items()}
    return chosen | loaded, comments


def _comments(text: str) -> dict[str, str]:
    """Dotted key -> the comment on its line."""
    found: dict[str, str] = {}
    outer = ""
    for line in text.splitlines():
        if match := _COMMENTED.match(line):
            outer = outer if match["indent"] else match["key"]
            name = f"{outer}.{match['key']}" if match["indent"] else match["key"]
            if match["comment"]:
                found[name] = match["comment"]
    return found


def _kind(hint: typing.Any, name: str) -> str:
    if name in ("model", "device", "experiment", "format"):
        return "a name or a file"
    words = {str: "text", int: "whole number", float: "number", bool: "true or false", type(None): "null"}
    if hint in words:
        return words[hint]
    if typing.get_origin(hint) is list:
        return f"list of {_kind(typing.get_args(hint)[0], '')}"
    if typing.get_args(hint):
        return " or ".join(_kind(one, "") for one in typing.get_args(hint))
    return "mapping or null"


def _shown(default: typing.Any, one: dataclasses.Field) -> str:
    if default is None and one.default not in (dataclasses.MISSING, "???", None):
        default = one.default
    return yaml.safe_dump(default, default_flow_style=True, width=10**6).splitlines()[0]


def accuracy() -> str:
    """How far predictions are off, computed while the site is built; and what takes longer, from `results/`."""
    with (files(conf) / EVIDENCE).open(encoding="utf-8") as file:
        verdicts = validate(*read(file))
    kernels = validate_kernels(kernel_rows.evidence(), [])
    return _page(
        [
            "# Accuracy",
            "How far predictions are off, and what 80 % intervals held. Every figure is for rows that the fit had not seen. "
            "An error is predicted over published, less 1; its size is shown. [How to read it](../reading.md).",
            "## Published decode speeds",
            "This is what `roofcast validate` prints, computed when this page was built. Five folds; all rows of one hardware "
            "and model are held out together.",
            markdown(validation_table(verdicts, EVIDENCE)).partition("\n\n")[2],
            "## Machines, kinds of machines and engines that no fit has seen",
            "This is what `roofcast validate leave_one_out=true` printed; it is kept in `results/leave_one_out.txt`.",
            f"```text\n{(KEPT / 'leave_one_out.txt').read_text(encoding='utf-8').strip()}\n```",
            "## Kernels of other engines",
            "This is what `roofcast validate kernels=own` prints, computed when this page was built: each chip is predicted "
            "from the others and its specification.",
            markdown(kernel_report.table(kernels, kernel_rows.EVIDENCE)).partition("\n\n")[2],
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
    return _page(
        [
            "# Parameters of the decode model",
            "From `harness/calibrate/decode.yaml` and `harness/calibrate/effects.py`. [What they mean](../method.md).",
            units,
            f"Scatter: {doubt['benchmark']:g} of benchmarks, {doubt['undisclosed']:g} where something is not disclosed, "
            f"as standard deviations of log time. Widening: {widening}.",
            _table(Table("", columns, rows)),
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
    return _page(
        [
            "# Models",
            f"{len(rows)} models of `conf/model/`. Any spelling of a name is found. [Add a model](../tutorials/model.md).",
            _table(Table("", columns, rows)),
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
    return _page(
        [
            "# Devices",
            f"{len(rows)} machines of `conf/device/`. Every figure has its source, date and basis in its file; "
            "`roofcast report` shows them figure by figure. A basis of `recalled` means that no document was found. "
            "[Add a chip](../tutorials/chip.md).",
            _table(Table("", columns, rows)),
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
    return _page(
        [
            "# Number formats",
            "Bits are those of a 4096 x 4096 matrix, scales included. Each is a file of `kernels/formats/`.",
            _table(Table("", columns, rows)),
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


def _table(table: Table) -> str:
    return markdown(table).partition("\n\n")[2]


def _page(parts: Iterable[str]) -> str:
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _sentence(text: str) -> str:
    return f"{text[0].upper()}{text[1:]}."


PAGES: Mapping[str, Callable[[], str]] = {
    "generated/keys.md": keys,
    "generated/accuracy.md": accuracy,
    "generated/parameters.md": parameters_page,
    "generated/models.md": models,
    "generated/devices.md": devices,
    "generated/formats.md": formats,
    "generated/contributing.md": contributing,
    "generated/results.md": results,
    "generated/claims.md": claims,
    "generated/predict.md": predict,
}
"""Page -> what makes it."""
