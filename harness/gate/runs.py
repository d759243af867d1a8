"""Saved runs of pytest-benchmark held against each other, where they were taken by turns.

Between two runs that came one after the other, a machine may have changed its speed by more than any revision does, and
nothing in the files says so. But where runs of base and head alternated, each base run and the head run beside it are one
comparison, between fresh processes, that a steady machine would have answered with their ratio: the signed-rank test on
those ratios is the gate's own. Half the pairs must begin with the head, so that a steady drift cancels. Eight pairs at the
least can be significant at `false_discovery=0.01`.
"""

from __future__ import annotations

import glob
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..errors import UsageError
from .judge import Comparison, Remark
from .pair import Quad, Side, judged
from .trial import Key, NotComparableError
from .verdict import Policy, of_one_look

FEWEST = 2
"""Pairs of runs; a single one could not tell a change from the machine's."""


@dataclass(frozen=True)
class Run:
    """One file of pytest-benchmark.

    Attributes:
        path: of the file.
        ended: when it was written.
        machine: node, processor and Python, as far as it says.
        medians: full name of a benchmark -> its median in seconds.
    """

    path: Path
    ended: datetime
    machine: Mapping[str, str]
    medians: Mapping[str, float]


def are_runs(pattern: str | None) -> bool:
    """Whether a base or head is a file of runs and not a commit."""
    return bool(pattern) and str(pattern).endswith(".json")


def compare_runs(base: str | None, head: str | None, policy: Policy) -> Comparison:
    """What is said of saved runs.

    Args:
        base, head: a file, or several by a pattern such as `before-*.json`.
        policy: what counts as a difference.

    Raises:
        UsageError: for a file that is not there or not pytest-benchmark's.
        NotComparableError: if the runs were not taken by turns, or on different machines.
    """
    runs: dict[Side, list[Run]] = {"base": _runs("base", base), "head": _runs("head", head)}
    everything = [*runs["base"], *runs["head"]]
    strangers = [one for one in everything if one.machine != everything[0].machine]
    if strangers:
        raise NotComparableError(f"{everything[0].path} and {strangers[0].path} are from different machines or Pythons")
    turns = _turns(runs)
    names = list(dict.fromkeys(name for run in everything for name in run.medians))
    quads: dict[Key, list[Quad]] = {}
    remarks = []
    for name in names:
        lacking = [side for side, taken in runs.items() if not all(name in run.medians for run in taken)]
        if lacking:
            remarks.append(Remark(name, "missing" if "head" in lacking else "new", f"not in every run of {lacking[0]}"))
        else:
            quads[name, "latency"] = [Quad((turn["base"].medians[name],), (turn["head"].medians[name],)) for turn in turns]
    return Comparison(
        base=f"{base} ({len(turns)} runs)",
        head=f"{head} ({len(turns)} runs)",
        verdicts=of_one_look({key: judged(taken) for key, taken in quads.items()}, policy),
        remarks=remarks,
        exact_changes=[],
        changed_code={},
        software={side: taken[0].machine for side, taken in runs.items()},
        seconds=0.0,
        quads=quads,
    )


def _turns(runs: Mapping[Side, Sequence[Run]]) -> list[dict[Side, Run]]:
    """Runs in the order of time, two by two, one of each side in each."""
    by_side: list[tuple[Side, Run]] = [(side, run) for side, taken in runs.items() for run in taken]
    ordered = sorted(by_side, key=lambda one: one[1].ended)
    pairs = [dict(ordered[place : place + 2]) for place in range(0, len(ordered), 2)]
    first = [side for side, _ in ordered[::2]]
    if len(pairs) < FEWEST or any(len(pair) < 2 for pair in pairs) or abs(first.count("base") - first.count("head")) > 1:
        raise NotComparableError(
            "runs that were not taken by turns differ by whatever the machine did between them: give several that follow one "
            "another as base, head, head, base and so on, such as base=before-*.json head=after-*.json; got "
            f"{', '.join(side for side, _ in ordered)}"
        )
    return pairs


def _runs(field: str, pattern: str | None) -> list[Run]:
    paths = sorted(map(Path, glob.glob(pattern or "")))
    if not are_runs(pattern) or not paths:
        raise UsageError(f"{field} must be files of pytest-benchmark (FILE.json), as the other side is; got {pattern!r}")
    return [_run(field, path) for path in paths]


def _run(field: str, path: Path) -> Run:
    try:
        document: Mapping[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        ended = datetime.fromisoformat(document["datetime"])
        machine = document["machine_info"]
        told = {name: str(machine[name]) for name in ("node", "machine", "python_version") if name in machine}
        medians = {one["fullname"]: float(one["stats"]["median"]) for one in document["benchmarks"]}
    except OSError as error:
        raise UsageError(f"{field} must be a file that can be read; got {str(path)!r}: {error.strerror}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise UsageError(
            f"{field} must be a file of pytest-benchmark; got {str(path)!r}: {type(error).__name__}: {error}"
        ) from None
    if not medians or min(medians.values()) <= 0:
        raise UsageError(f"{field} must hold benchmarks with times above 0; got {str(path)!r}")
    # Since pytest-benchmark 5 times have a zone; before, they were UTC without one.
    return Run(path, ended if ended.tzinfo else ended.replace(tzinfo=UTC), told, medians)
