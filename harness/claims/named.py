"""Claims that name systems, software, models and users: which of them can be asked about here."""

from __future__ import annotations

from ..calibrate.decode import evidence
from ..calibrate.engine import known_engine
from ..errors import UsageError
from ..facts.catalogue import names, resolve
from ..facts.devices import device_named
from ..facts.models import model_named
from ..predict.answer import answers
from ..words import figure
from .finding import Finding, Given, ask, capacity_gb, gigabytes, plain, said, weights_held


def systems(given: Given) -> Finding:
    """A file for each machine and model, a fitted profile for each engine; what has none is named."""
    machines = [f"{name} is {_device(name)}" for name in given["devices"] if _device(name)]
    missing = [name for name in given["devices"] if not _device(name)]
    software = [f"{name} is {_engine(name)}" for name in given["engines"] if _engine(name)]
    missing += [name for name in given["engines"] if not _engine(name)]
    counts = {title: [name for name in names("model") if name.startswith(stem)] for title, stem in given["models"].items()}
    missing += [title for title, files in counts.items() if not files]
    shapes = [f"{title} {len(files)}" for title, files in counts.items() if files]
    library = given["library"]
    speeds = sum(library.lower() in line.engine.lower() for line in evidence().rows)
    silent = [title for title, found in counts.items() if found and all(model_named(one).family == "encoder" for one in found)]
    whole = len(given["devices"]) + len(given["engines"]) + len(counts)
    return Finding(
        f"machines with a file: {', '.join(machines)}; fitted engines: {', '.join(software)}; model files: {', '.join(shapes)}",
        (f"nothing for {', '.join(missing)}" if missing else f"all {whole} can be asked about here")
        + f"; {speeds or 'no'} published speeds name {library}, of which only the models' shapes are known"
        + (f"; {', '.join(silent)} has no decode step" if silent else ""),
        figures={"named": whole, "missing": len(missing), "speeds_of_library": speeds},
    )


def users(given: Given) -> Finding:
    """Each model's parameters, and for each user whether a model and a machine are named that can be checked together."""
    sizes, wrong = [], []
    for name, stated_b in given["models"].items():
        held_b = weights_held(model_named(name)) / 1e9
        sizes.append(f"{name} {figure(held_b, 4)}B")
        if abs(held_b / stated_b - 1) > 0.05:
            wrong.append(name)
    checks, unchecked, predicted, figures = [], [], [], {}
    for one in given["users"]:
        device = device_named(one["device"])
        if "model" not in one:
            unchecked.append(f"{one['user']} ({device.name})")
            continue
        model = model_named(one["model"])
        needed_gb = gigabytes(weights_held(model), 16)
        (answer,) = answers([ask(model, device, 16)])
        fits = "fits" if answer.chips == 1 else f"needs {answer.chips} of"
        checks.append(
            f"{model.name} at 16 bits, {figure(needed_gb)} GB, {fits} one {device.name} of {plain(capacity_gb(device))} GB"
        )
        predicted.append(f"{model.name} on {answer.chips}x {device.name}: {said(answer.tokens_per_s)}")
        figures |= {"needed_gb": needed_gb, "devices": answer.chips}
    sized = f"false sizes: {', '.join(wrong)}" if wrong else "sizes true"
    return Finding(
        f"{', '.join(sizes)}; {'; '.join(checks)}",
        f"{sized}, the largest a rumour; cannot be checked, for no model is named: {', '.join(unchecked)}",
        predicts="; ".join(predicted),
        figures=figures,
    )


def _device(name: str) -> str:
    try:
        return resolve("device", name)
    except UsageError:
        return ""


def _engine(name: str) -> str:
    try:
        return known_engine(name, device_named("H100")).name
    except UsageError:
        return ""
