"""What the gate says: tables for people, Markdown for a pull request, JSON and JUnit XML for programs."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

from ..report.output import write_text
from ..report.table import Column, Table, markdown
from ..shown import escaped, warn
from ..words import figure
from . import pytest_benchmark
from .judge import Comparison, Remark
from .verdict import Verdict, change

SUFFIXES = (".md", ".json", ".xml")
_ORDER = ("slower", "inconclusive", "faster", "same")


def tables(found: Comparison) -> list[Table]:
    """Verdicts, remarks and exact changes; those that have nothing to say are left out."""
    columns = [Column(name, text=True) for name in ("kernel", "quantity")]
    columns += [Column("change"), Column("95 %"), Column("verdict", text=True), Column("reason", text=True)]
    verdicts = sorted(found.verdicts.items(), key=lambda one: _ORDER.index(one[1].ruling))
    body = [[*key, *_cells(verdict)] for key, verdict in verdicts]
    shown = [Table(f"{found.head} against {found.base}", columns, body, _notes(found))]
    if found.remarks:
        words = [Column(name, text=True) for name in ("kernel", "condition", "reason")]
        shown.append(
            Table("Kernels without times to compare", words, [[one.kernel, one.condition, one.reason] for one in found.remarks])
        )
    if found.exact_changes:
        columns = [Column("kernel", text=True), Column("quantity", text=True), Column("base"), Column("head")]
        body = [[one.kernel, one.quantity, figure(one.base, 6), figure(one.head, 6)] for one in found.exact_changes]
        shown.append(Table("Exact quantities that changed", columns, body))
    return shown


def headline(found: Comparison) -> str:
    """The whole comparison in one sentence."""
    slower = [
        f"{name} ({quantity} {change(one.estimate.point)})"
        for (name, quantity), one in found.verdicts.items()
        if one.ruling == "slower"
    ]
    wrong = [one.kernel for one in found.remarks if one.condition == "newly wrong"]
    bad = [f"slower: {', '.join(slower)}"] * bool(slower) + [f"newly wrong: {', '.join(wrong)}"] * bool(wrong)
    return "; ".join(bad) or "nothing is slower"


def as_markdown(found: Comparison) -> str:
    """A summary for a pull request."""
    return f"## roofcast gate: {escaped(headline(found))}\n\n" + "\n".join(markdown(table) for table in tables(found))


def as_json(found: Comparison, code: int) -> str:
    """Everything, for programs. Shifts are natural logarithms of the ratio of head to base; an endless interval is null.

    The keys of `pytest_benchmark.document` are among it.
    """
    rows = [
        {"kernel": name, "quantity": quantity, "ruling": one.ruling, "reason": one.reason} | _numbers(one)
        for (name, quantity), one in found.verdicts.items()
    ]
    document = {
        "base": found.base,
        "head": found.head,
        "exit_code": code,
        "headline": headline(found),
        "seconds": round(found.seconds, 1),
        "software": found.software,
        "verdicts": rows,
        "remarks": [vars(one) for one in found.remarks],
        "exact_changes": [vars(one) for one in found.exact_changes],
        "changed_code": {name: {"base": base, "head": head} for name, (base, head) in found.changed_code.items()},
    }
    document |= pytest_benchmark.document(found)
    return json.dumps(document, indent=2, allow_nan=False) + "\n"


def as_junit(found: Comparison) -> str:
    """JUnit XML: a test case per quantity of a kernel; slower fails, inconclusive is skipped with its reason."""
    suite = Xml.Element("testsuite", name="roofcast gate", time=f"{found.seconds:.1f}")
    for (name, quantity), one in found.verdicts.items():
        case = Xml.SubElement(suite, "testcase", classname=f"roofcast.gate.{quantity}", name=name)
        _mark(case, {"slower": "failure", "inconclusive": "skipped"}.get(one.ruling), one.reason)
    for remark in found.remarks:
        case = Xml.SubElement(suite, "testcase", classname="roofcast.gate.kernel", name=remark.kernel)
        _mark(case, _remark_tag(remark), f"{remark.condition}: {remark.reason}")
    for tag, attribute in (("testcase", "tests"), ("failure", "failures"), ("skipped", "skipped")):
        suite.set(attribute, str(len(list(suite.iter(tag)))))
    for one in suite.iter():
        # No reference stands for these in XML.
        one.attrib.update({key: escaped(value, keep="\n\t") for key, value in one.attrib.items()})
        one.text = one.text and escaped(one.text, keep="\n\t")
    Xml.indent(suite)
    return Xml.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def write(found: Comparison, code: int, path: Path) -> None:
    """Writes to `FILE.md`, `FILE.json` or `FILE.xml`, whole or not at all.

    Raises:
        UsageError: if the file cannot be written.
    """
    text = {".md": lambda: as_markdown(found), ".json": lambda: as_json(found, code), ".xml": lambda: as_junit(found)}[
        path.suffix
    ]()
    write_text(text, path)


def summarize(text: str, path: Path) -> None:
    """Adds a text to the summary of a CI's job; one that cannot be written changes no verdict."""
    try:
        with path.open("a", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        warn(f"GITHUB_STEP_SUMMARY must be a file that can be written; got {str(path)!r}: {error.strerror}")


def _cells(one: Verdict) -> Sequence[str]:
    ends = (one.estimate.low, one.estimate.high)
    span = " to ".join(map(change, ends)) if all(map(math.isfinite, ends)) else "-"
    return change(one.estimate.point), span, one.ruling, one.reason


def _notes(found: Comparison) -> list[str]:
    counts = Counter(one.ruling for one in found.verdicts.values())
    notes = [", ".join(f"{counts[word]} {word}" for word in _ORDER if counts[word]) or "nothing was timed"]
    notes += [f"{name}: {base} in the base, {head} in the head" for name, (base, head) in found.changed_code.items()]
    base, head = (found.software.get(side, {}) for side in ("base", "head"))
    notes += [f"{name} {base[name]} in the base, {head[name]} in the head" for name in base if base[name] != head.get(name)]
    if found.seconds:
        notes.append(f"{found.seconds:.0f} s; a change is called one where fresh processes show it again")
    return notes


def _numbers(one: Verdict) -> dict[str, Any]:
    shift = {name: getattr(one.estimate, name) for name in ("low", "point", "high")}
    finite = {name: value if math.isfinite(value) else None for name, value in shift.items()}
    return {"log_ratio": finite, "p": one.estimate.p, "comparisons": one.estimate.count}


def _mark(case: Xml.Element, tag: str | None, reason: str) -> None:
    if tag:
        Xml.SubElement(case, tag, message=reason)
    else:
        Xml.SubElement(case, "system-out").text = reason


def _remark_tag(remark: Remark) -> str | None:
    return {"newly wrong": "failure", "not measured": "skipped", "missing": "skipped"}.get(remark.condition)
