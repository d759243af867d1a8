"""The benchmark that slows a kernel or the harness finds what it changes."""

import runpy
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("which", ["kernel", "harness"])
def test_what_is_slowed_is_there_once(which):
    slowed = runpy.run_path(str(ROOT / "tests" / "benchmarks" / "slowed_commit.py"))["COMMITS"][which]
    text = (ROOT / slowed.file).read_text(encoding="utf-8")
    changed = slowed.change(text)
    assert len(changed) > len(text)
    compile(changed, str(slowed.file), "exec")
