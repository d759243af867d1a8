"""A suite of pytest-benchmark compared between two revisions of a project that is not roofcast."""

import json
import os
import subprocess
import sys

import pytest

PACKAGE = "def total(n):\n    return sum(range(n))\n"
SUITE = """
import pytest
import project

@pytest.mark.benchmark(group="totals")
@pytest.mark.parametrize("n", [10, 20])
def test_total(benchmark, n):
    assert benchmark(project.total, n) == n * (n - 1) // 2

def test_rounds(benchmark):
    used_up = lambda: (([5],), {})
    assert benchmark.pedantic(lambda box: project.total(box.pop()), setup=used_up, rounds=3) == 10

def test_that_times_nothing():
    assert project.total(2) == 1

def test_skipped(benchmark):
    pytest.skip("not today")
"""
QUICK = (
    "least_quads=6",
    "most_quads=6",
    "confirmations=1",
    "most_confirmations=1",
    "budget_s=1",
    "suite=bench -k 'total or rounds or skipped'",
    "output=found.json",
)


def git(folder, *arguments):
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(("git", "-C", folder, *who, *arguments), check=True)


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    folder = tmp_path_factory.mktemp("project")
    (folder / "src").mkdir()
    (folder / "bench").mkdir()
    (folder / "src" / "project.py").write_text(PACKAGE)
    (folder / "bench" / "test_total.py").write_text(SUITE)
    options = ["--strict-markers", "--benchmark-only", "--benchmark-autosave"]
    (folder / "pyproject.toml").write_text(f"[tool.pytest.ini_options]\naddopts = {options}\nfilterwarnings = ['error']\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "main")
    for branch, code in (("wrong", PACKAGE.replace("range(n)", "range(n + n % 4)")), ("broken", "import nowhere")):
        git(folder, "checkout", "-qb", branch, "main")
        (folder / "src" / "project.py").write_text(code)
        git(folder, "commit", "-qam", branch)
    git(folder, "checkout", "-q", "main")
    return folder


def gate(project, *arguments, **environment):
    command = (sys.executable, "-m", "roofcast.harness", "gate", *QUICK, *arguments)
    return subprocess.run(
        command, cwd=project, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


def test_each_test_is_timed_by_turns_and_one_that_became_wrong_is_named(project):
    done = gate(project, "base=main", "head=wrong")
    assert (done.returncode, done.stderr) == (1, "")
    found = json.loads((project / "found.json").read_text())
    timed = {one["kernel"] for one in found["verdicts"]}
    assert timed == {"bench/test_total.py::test_total[20]"}
    remarks = {one["kernel"].partition("::")[2]: one for one in found["remarks"]}
    assert {name: one["condition"] for name, one in remarks.items()} == {
        "test_total[10]": "newly wrong",
        "test_rounds": "newly wrong",
        "test_skipped": "missing",
    }
    assert "assert 66 == " in remarks["test_total[10]"]["reason"]
    assert "not today" in remarks["test_skipped"]["reason"]
    listed = subprocess.run(("git", "-C", project, "status", "--porcelain"), capture_output=True, text=True, check=True)
    assert listed.stdout == "?? found.json\n"


def test_a_suite_without_a_benchmark_in_either_revision_is_not_comparable(project):
    done = gate(project, "base=main", "head=main", "suite=bench -k nothing")
    assert (done.returncode, done.stdout) == (3, "")
    assert "neither revision has anything to time: no test of bench -k nothing asks for the fixture benchmark" in done.stderr


def test_a_head_whose_suite_cannot_be_collected_is_not_comparable(project):
    done = gate(project, "base=main", "head=broken")
    assert done.returncode == 3
    (sentence,) = done.stderr.splitlines()
    assert "bench/test_total.py cannot be collected" in sentence
    assert "nowhere" in sentence


def test_a_revision_that_imports_the_checkout_is_not_taken_for_itself(project):
    (project / "installed").mkdir()
    (project / "installed" / "elsewhere.py").write_text(PACKAGE)
    (project / "bench" / "test_total.py").write_text(SUITE.replace("import project", "import elsewhere as project"))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "elsewhere")
    path = os.pathsep.join(filter(None, (str(project / "installed"), os.environ.get("PYTHONPATH"))))
    done = gate(project, "base=main", PYTHONPATH=path)
    assert done.returncode == 3
    assert "elsewhere.py, which is the checkout's and not the revision's" in done.stderr
