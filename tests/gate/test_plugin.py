"""The fixture roofcast_gate in a pytest of its own."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from roofcast.harness.gate import callables
from roofcast.harness.gate.callables import compare_callables
from roofcast.harness.gate.verdict import Policy

ROOT = Path(__file__).parent.parent.parent
PLUGIN = "roofcast.harness.pytest_plugin"
SUITE = """
import sys
import time
import pytest

def quick():
    time.sleep(0.0005)

def slow():
    time.sleep(0.002)

def test_nothing_is_imported_until_it_is_needed():
    assert not {"jax", "numpy", "scipy"} & set(sys.modules)

@pytest.mark.roofcast_gate(least_quads=12, most_quads=12, confirmations=1, most_confirmations=1, budget_s=0.1)
def test_slower(roofcast_gate):
    roofcast_gate(base=quick, head=slow)

@pytest.mark.roofcast_gate(least_quads=12, most_quads=12, confirmations=1, most_confirmations=1, budget_s=0.1)
def test_faster(roofcast_gate):
    assert roofcast_gate(base=slow, head=quick).ruling == "faster"

@pytest.mark.roofcast_gate(
    least_quads=2, most_quads=2, confirmations=1, most_confirmations=1, budget_s=0.1, inconclusive_fails=True
)
def test_inconclusive(roofcast_gate):
    roofcast_gate(base=quick, head=quick)

@pytest.mark.roofcast_gate(quads=3)
def test_misspelt(roofcast_gate):
    pass
"""


def run(folder, *arguments):
    (folder / "test_gate.py").write_text(SUITE)
    plugins = ("-p", "pytest_benchmark.plugin", "-p", PLUGIN)
    command = (sys.executable, "-m", "pytest", "-q", *plugins, "--strict-markers", *arguments)
    # What else is installed may import NumPy and JAX at the start, as jaxtyping does.
    alone = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"}
    return subprocess.run(command, cwd=folder, env=alone, capture_output=True, text=True, timeout=120, check=False).stdout


def test_a_slower_head_fails_and_nothing_else_does(tmp_path):
    said = run(tmp_path)
    assert re.search(r"^2 failed, 2 passed, 1 error in", said, re.MULTILINE), said
    for words in ("slower: ", "inconclusive: ", "when measured again", "got quads"):
        assert words in said


def test_without_timing_each_is_called_once(tmp_path):
    said = run(tmp_path, "--benchmark-disable", "-k", "slower or inconclusive")
    assert "2 passed" in said
    assert "2 skipped" in run(tmp_path, "--benchmark-skip", "-k", "slower or inconclusive")


def test_pytest_finds_the_plug_in_and_loads_it_at_once():
    entries = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["entry-points"]["pytest11"]
    assert entries == {"roofcast": PLUGIN}
    # pytest itself is what takes time; what the plug-in adds is itself and the packages that it lies in.
    script = f"import pytest, sys; before = set(sys.modules); import {PLUGIN}; print(*set(sys.modules) - before)"
    done = subprocess.run((sys.executable, "-c", script), capture_output=True, text=True, check=True)
    assert set(done.stdout.split()) == {"roofcast", "roofcast.harness", PLUGIN}


@pytest.fixture
def clock(monkeypatch):
    """Samples without a machine: what a callable returns is how long it takes, but for noise of half a percent."""
    rng = np.random.default_rng(0)
    monkeypatch.setattr(callables, "sample", lambda call, calls: call() * float(np.exp(rng.normal(0, 0.005))))
    monkeypatch.setattr(callables, "calls_per_sample", lambda call: 1)
    return rng


@pytest.mark.parametrize(("head", "ruling"), [(1.0, "same"), (1.1, "slower"), (0.9, "faster"), (1.01, "same")])
def test_verdicts_on_callables(clock, head, ruling):
    assert compare_callables(lambda: 1.0, lambda: head, Policy(), rng=clock).ruling == ruling


def test_a_difference_that_does_not_come_back_is_not_called_one(clock):
    calls = iter(range(10**6))
    # Slower in the first look of 64 quads only.
    found = compare_callables(lambda: 1.0, lambda: 1.1 if next(calls) < 128 else 1.0, Policy(), rng=clock)
    assert found.ruling == "same"
    assert "when measured again" in found.reason
