"""A revision's kernels as shares of the machine's ceilings, kept for later revisions to be held against.

Two captures in fresh processes are kept, and a later one must differ from both: what the one differs by from the other is
no change.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

from ..errors import UsageError
from ..files.columns import flatten, unflatten
from ..host.host import Host, differences
from ..host.provenance import PACKAGE_FOLDER
from ..report.output import write_text
from .pair import CONFIDENCE, Estimate, Quad, calmer
from .trial import NotComparableError

Capture = Mapping[str, Sequence[Quad]]
"""Kernel -> quads of its floor, as the base, and the kernel."""
_NAME = re.compile(r"[\w-][\w.-]*")


@dataclass(frozen=True)
class Terms:
    """What must be the same for a capture to be held against another.

    Attributes:
        host: machine and software.
        question: what the workers were asked.
        measuring: hash of the code that times kernels and ceilings.
    """

    host: Host
    question: Mapping[str, Any]
    measuring: str

    def mismatch(self, now: Terms) -> list[str]:
        """What differs, each in words."""
        found = [f"{name} was {then}, is {today}" for name, (then, today) in differences(self.host, now.host).items()]
        asked, asks = ({**one.question, **one.question["plan"]} for one in (self, now))
        found += [
            f"{name} was {asked.get(name)}, is {asks[name]}"
            for name in asks
            if name != "plan" and asked.get(name) != asks[name]
        ]
        return [*found, *["the code that measures has changed"] * (self.measuring != now.measuring)]


@dataclass(frozen=True)
class Baseline:
    """What is kept under a name.

    Attributes:
        revision: name of what was measured.
        saved: when, in ISO 8601.
        terms: under which it holds.
        software: Python, JAX and backend of the worker.
        prepared: kernel -> the worker's answer to `prepare`.
        captures: two that agree.
    """

    revision: str
    saved: str
    terms: Terms
    software: Mapping[str, str]
    prepared: Mapping[str, Mapping[str, Any]]
    captures: tuple[Capture, Capture]

    def shift(self, kernel: str, quads: Sequence[Quad]) -> Estimate:
        """How much slower a kernel has become: by what both captures say, and by nothing where they say the reverse."""
        first, second = (shift(capture[kernel], quads) for capture in self.captures)
        nearer = min(first.point, second.point, key=abs)
        return Estimate(
            min(first.low, second.low),
            nearer if first.point * second.point > 0 else 0.0,
            max(first.high, second.high),
            max(first.p, second.p),
            second.count,
        )


@dataclass(frozen=True)
class Shelf:
    """Baselines by machine and name.

    Attributes:
        folder: made when first written to; a folder in it for every machine.
    """

    folder: Path

    def has(self, name: str) -> bool:
        """Whether any machine has a baseline of that name."""
        return bool(_NAME.fullmatch(name)) and any(self.folder.glob(f"*/{name}.json"))

    def put(self, name: str, baseline: Baseline) -> Path:
        """Keeps a baseline, in the place of an older one of this name and machine.

        Raises:
            UsageError: for what is no name, or if it cannot be written.
        """
        check_name(name)
        terms = baseline.terms
        captures = [{kernel: list(map(asdict, quads)) for kernel, quads in one.items()} for one in baseline.captures]
        document = vars(baseline) | {"terms": vars(terms) | {"host": flatten(terms.host)}, "captures": captures}
        path = self._path(name, terms.host)
        write_text(json.dumps(document), path, "results")
        return path

    def get(self, name: str, now: Terms) -> Baseline:
        """The baseline that a comparison under these terms can be held against.

        Raises:
            NotComparableError: if it was saved under others; the text lists what differs.
            UsageError: for a file that is none.
        """
        here = self._path(name, now.host)
        elsewhere = sorted(self.folder.glob(f"*/{name}.json"), key=lambda path: path.stat().st_mtime, reverse=True)
        found = _read(here if here.exists() else elsewhere[0])
        if mismatch := found.terms.mismatch(now):
            raise NotComparableError(f"baseline {name} was saved under other conditions: {'; '.join(mismatch)}")
        return found

    def _path(self, name: str, host: Host) -> Path:
        return self.folder / host.key / f"{name}.json"


def check_name(name: str) -> None:
    """Raises UsageError for what cannot be the name of a baseline."""
    if not _NAME.fullmatch(name):
        raise UsageError(f"save must be a name of letters, digits, dots, dashes and underscores; got {name!r}")


def terms(host: Host, question: Mapping[str, Any], revision: Path) -> Terms:
    """The terms of a measurement of the revision in a folder, whose own streams and arithmetic measure the ceilings."""
    gate = PACKAGE_FOLDER / "gate"
    rooms = [PACKAGE_FOLDER / "measure", revision / "kernels" / "stream", revision / "kernels" / "peak"]
    files = [gate / "worker.py", gate / "yardstick.py", *(path for room in rooms for path in sorted(room.rglob("*.py")))]
    code = hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:12]
    # How much memory is free today decides what is measured at a time, not how.
    return Terms(host, {name: value for name, value in question.items() if name != "free_bytes"}, code)


def shift(before: Sequence[Quad], after: Sequence[Quad]) -> Estimate:
    """How much slower a kernel has become against its floor.

    Hodges and Lehmann's estimate for two samples, Moses' interval and the rank-sum test (Hollander, Wolfe and Chicken
    2014, sections 4.1 to 4.3).
    """
    old, new = calmer(before), calmer(after)
    differing = np.sort(np.subtract.outer(new, old), axis=None)
    pairs = len(differing)
    deviation = math.sqrt(pairs * (len(old) + len(new) + 1) / 12)
    outside = math.floor(pairs / 2 - stats.norm.ppf((1 + CONFIDENCE) / 2) * deviation)
    low, high = (differing[outside - 1], differing[-outside]) if outside > 0 else (-math.inf, math.inf)
    # As an array: what SciPy's own types say of the result differs from version to version.
    _, p = np.asarray(stats.mannwhitneyu(new, old))
    return Estimate(float(low), float(np.median(differing)), float(high), float(p), len(new))


def _read(path: Path) -> Baseline:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        first, second = (
            {kernel: [Quad.read(tuple(quad.values())) for quad in quads] for kernel, quads in one.items()}
            for one in said["captures"]
        )
        host = unflatten(Host, said["terms"]["host"])
        return Baseline(**said | {"terms": Terms(**said["terms"] | {"host": host}), "captures": (first, second)})
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise UsageError(f"results hold a baseline that cannot be read, {str(path)!r}: {error}") from None
