"""What the page says in ten seconds: a figure each of speed, trust, measurement and claims, each a sentence long."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from statistics import median

from ..words import figure, percent
from .controls import choices
from .data import Data


@dataclass(frozen=True)
class Fact:
    """A figure that the page opens with.

    Attributes:
        section: of the page that holds the rest.
        figure: in a word or two.
        said: the sentence that the figure begins.
    """

    section: str
    figure: str
    said: str


def lead(data: Data) -> list[Fact]:
    """The facts of a page, for the choices that it opens with."""
    return [one for one in (_speed(data), _trust(data), _measured(data), _claims(data)) if one]


def _speed(data: Data) -> Fact | None:
    chosen = choices(data)
    rows = [row for row in data.datasets["speeds"] if all(row[name] == chosen[name] for name in ("model", "format", "context"))]
    asked = next((row for row in rows if row["device"] == chosen["device"]), None)
    if asked is None:
        return None
    said = (
        f"is what one reader gets of {asked['model']} in {asked['format']} on {asked['chips']}x {asked['device']}; with 80 % "
        f"probability {figure(asked['low'])} to {figure(asked['high'])}."
    )
    first = rows[0]
    if len(rows) > 1:
        said += (
            f" Fastest of {len(rows)} machines: {first['device']}, {figure(first['point'])} "
            f"({figure(first['low'])} to {figure(first['high'])})."
        )
    return Fact("predictions", f"{figure(asked['point'])} tokens/s", said)


def _trust(data: Data) -> Fact | None:
    everything = next((row for row in data.datasets["coverage"] if row["hardware"] == "all"), None)
    if everything is None:
        return None
    return Fact(
        "validation",
        f"{everything['inside']} of {everything['rows']}",
        f"published speeds ({percent(everything['share'])}) lie in the 80 % interval of a prediction that had not seen them; "
        f"half of the predictions are within {percent(everything['median_error'])}.",
    )


def _measured(data: Data) -> Fact:
    rows = [row for row in data.datasets["kernels"] if row["from"].startswith("record:")]
    if not rows:
        return Fact("kernels", "0 kernels", "were measured for this page; roofcast bench measures those of a decode step.")
    machines = sorted({row["envelope"] for row in rows})
    where = machines[0] if len(machines) == 1 else f"{len(machines)} machines"
    said = f"on {where}, the last on {max(row['date'] for row in rows)[:10]}."
    bound = [row["fraction"] for row in rows if row["newest"] and row["bound"] == "memory" and row["fraction"] is not None]
    if bound:
        said += f" At the median, those bound by memory reach {percent(median(bound))} of what it gives."
    return Fact("kernels", f"{len(rows):,} measurements", said)


def _claims(data: Data) -> Fact | None:
    if not data.claims:
        return None
    opened = Counter(one.finding.verdict.split()[0].strip(":;,") for one in data.claims)
    wrong = opened["false"] + opened["impossible"]
    return Fact(
        "claims",
        f"{len(data.claims)} claims",
        f"of an article, held against physics and prediction: {opened['true']} verdicts begin with true, {wrong} with false or "
        "impossible.",
    )
