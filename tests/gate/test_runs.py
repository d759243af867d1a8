"""pytest-benchmark's JSON: written for its own `compare`, and read where runs were taken by turns."""

import json
import subprocess
import sys

import numpy as np
import pytest
from pytest_benchmark.stats import Stats
from roofcast.harness import cli
from roofcast.harness.errors import UsageError
from roofcast.harness.gate import report
from roofcast.harness.gate.judge import Comparison
from roofcast.harness.gate.pair import Quad
from roofcast.harness.gate.pytest_benchmark import statistics
from roofcast.harness.gate.runs import compare_runs
from roofcast.harness.gate.trial import NotComparableError
from roofcast.harness.gate.verdict import Policy

FOUND = Comparison(
    base="main (123456789)",
    head="topic (abcdef012)",
    verdicts={},
    remarks=[],
    exact_changes=[],
    changed_code={},
    software={},
    seconds=1.0,
    quads={("gemv", "latency"): [Quad((1e-3, 1.1e-3), (2e-3, 2.2e-3)), Quad((1e-3, 1e-3), (2e-3, 2e-3))]},
)


QUARTILES = {"q1", "q3", "iqr", "ld15iqr", "hd15iqr", "iqr_outliers", "outliers"}


@pytest.mark.parametrize(
    ("seconds", "but"),
    [
        # Quartiles have many definitions, which agree where neighbours are equal.
        ([1.0, 1.0, 2.0, 2.0, 9.0, 9.0, 9.0, 9.0, 9.0, 10.0, 10.0, 99.0, 99.0], set()),
        (np.random.default_rng(0).lognormal(size=41).tolist(), QUARTILES),
        ([2.0], set()),
    ],
)
def test_the_statistics_are_those_of_pytest_benchmark(seconds, but):
    theirs = Stats()
    for one in seconds:
        theirs.update(one)
    ours = statistics(seconds)
    assert ours.keys() == theirs.as_dict().keys()
    assert {name for name, value in theirs.as_dict().items() if ours[name] != pytest.approx(value)} <= but


def test_pytest_benchmark_compares_what_the_gate_wrote(tmp_path):
    report.write(FOUND, 0, tmp_path / "found.json")
    command = (sys.executable, "-m", "pytest_benchmark", "compare", "found.json", "--columns=median,rounds")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert "benchmark 'gemv, latency': 2 tests" in done.stdout
    rows = {tuple(line.split()) for line in done.stdout.splitlines() if line.startswith(("base", "head"))}
    assert {row[0]: (row[1], row[-1]) for row in rows} == {"base": ("1.0000", "4"), "head": ("2.0000", "4")}


def save(folder, name, minute, seconds, node="here", names=("test_one", "test_two")):
    document = {
        "machine_info": {"node": node, "python_version": "3.11.1"},
        "datetime": f"2026-01-01T10:{minute:02}:00+00:00",
        "benchmarks": [{"fullname": one, "stats": {"median": seconds}} for one in names],
        "version": "5.3.0",
    }
    (folder / f"{name}-{minute:02}.json").write_text(json.dumps(document))


def turns(folder, pairs, slowdown, drift=1.0):
    """Runs as base head, head base and so on, on a machine that becomes slower by a constant factor from run to run."""
    for place in range(2 * pairs):
        is_head = place % 4 in (1, 2)
        save(folder, "after" if is_head else "before", place, drift**place * (slowdown if is_head else 1.0))


def rulings(folder):
    found = compare_runs(f"{folder}/before-*.json", f"{folder}/after-*.json", Policy())
    return {name: one.ruling for (name, _), one in found.verdicts.items()}


@pytest.mark.parametrize(
    ("pairs", "slowdown", "ruling"), [(12, 1.1, "slower"), (12, 0.9, "faster"), (12, 1.0, "same"), (4, 1.1, "inconclusive")]
)
def test_runs_by_turns_are_judged(tmp_path, pairs, slowdown, ruling):
    turns(tmp_path, pairs, slowdown)
    assert rulings(tmp_path) == {"test_one": ruling, "test_two": ruling}


def test_a_machine_that_becomes_slower_and_slower_is_not_taken_for_a_change(tmp_path):
    turns(tmp_path, 12, 1.0, drift=1.05)
    assert set(rulings(tmp_path).values()) == {"inconclusive"}


def test_one_run_of_each_is_not_comparable(tmp_path, capsys):
    turns(tmp_path, 1, 1.0)
    code = cli.run(["gate", f"base={tmp_path}/before-00.json", f"head={tmp_path}/after-01.json"])
    assert code == 3
    assert "not comparable: runs that were not taken by turns" in capsys.readouterr().err


def test_runs_whose_order_favours_one_side_are_not_comparable(tmp_path):
    for place in range(24):
        save(tmp_path, ("before", "after")[place % 2], place, 1.0)
    with pytest.raises(NotComparableError, match="base, head, head, base"):
        rulings(tmp_path)


def test_runs_of_different_machines_are_not_comparable(tmp_path):
    turns(tmp_path, 4, 1.0)
    save(tmp_path, "after", 1, 1.0, node="elsewhere")
    with pytest.raises(NotComparableError, match="different machines"):
        rulings(tmp_path)


def test_a_benchmark_that_one_side_lacks_is_named(tmp_path):
    turns(tmp_path, 4, 1.0)
    for minute in (1, 2, 5, 6):
        save(tmp_path, "after", minute, 1.0, names=("test_one",))
    found = compare_runs(f"{tmp_path}/before-*.json", f"{tmp_path}/after-*.json", Policy())
    assert [(one.kernel, one.condition) for one in found.remarks] == [("test_two", "missing")]


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"datetime": "never"}', '{"datetime": "2026-01-01", "machine_info": {}, "benchmarks": []}']
)
def test_a_file_of_something_else_is_refused(tmp_path, text):
    (tmp_path / "one.json").write_text(text)
    with pytest.raises(UsageError, match=r"^base must "):
        compare_runs(str(tmp_path / "one.json"), str(tmp_path / "one.json"), Policy())


def test_files_on_one_side_alone_are_refused(tmp_path):
    turns(tmp_path, 1, 1.0)
    with pytest.raises(UsageError, match="head must be files of pytest-benchmark"):
        compare_runs(str(tmp_path / "before-00.json"), "main", Policy())
