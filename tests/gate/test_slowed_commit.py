"""The benchmark that slows a kernel finds the line that it changes."""

import runpy
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_the_line_that_is_slowed_is_there_once():
    slowed = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "slowed_commit.py"))
    assert (ROOT / slowed["FILE"]).read_text(encoding="utf-8").count(slowed["LAST"]) == 1
