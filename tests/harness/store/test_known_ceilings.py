"""Ceilings that a job of a sweep leaves for those after it: found while they are fresh, measured anew where they are not."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from roofcast.harness.measure import ceilings, probes
from roofcast.harness.measure.budget import Budget
from roofcast.harness.measure.spent import Spent, both, compiling
from roofcast.harness.store import known_ceilings
from roofcast.harness.store.figures import Ceilings
from roofcast.harness.store.known_ceilings import FRESH_S, Known, Shelf

CODES = {"read": "cpu.numba", "multiply_add": "cpu.numba"}


def measured(seconds_ago: float) -> Ceilings:
    then = datetime.now(UTC) - timedelta(seconds=seconds_ago)
    return Ceilings(
        read_gbs=20.0,
        copy_gbs=15.0,
        triad_gbs=16.0,
        cache_read_gbs={"L2": 100.0},
        multiply_add_gflops=100.0,
        matmul_gflops={"f32": 200.0},
        dispatch_us=8.0,
        probed_at=then.isoformat(),
    )


@pytest.mark.parametrize(("seconds_ago", "is_found"), [(1, True), (FRESH_S + 1, False), (-60, False)])
def test_ceilings_are_found_while_they_are_fresh_on_their_own_host(seconds_ago: float, is_found: bool, tmp_path: Path) -> None:
    known = Known(measured(seconds_ago), CODES)
    Shelf(tmp_path, "host").keep(known)
    assert Shelf(tmp_path, "host").find() == (known if is_found else None)
    assert Shelf(tmp_path, "other").find() is None


@pytest.mark.parametrize("content", ["", "{}", '{"ceilings": {"read_gbs": 1}, "codes": {}}', "[]"])
def test_a_damaged_file_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "ceilings-host.json").write_text(content)
    assert Shelf(tmp_path, "host").find() is None


def test_one_process_measures_and_those_after_it_do_not(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(probes, "_PREPARED", {})
    for module in (ceilings, probes):
        monkeypatch.setattr(module, "fastest", lambda call, backend, timer, code="": _probe(asked, call.label, code))
    shelf, budget = Shelf(tmp_path, "host"), Budget(4e7, 2e7)
    first = ceilings.measure_limits("cpu", {"L2": 2**16}, ("f32",), budget, shelf=shelf)
    assert {code for _, code in asked} == {""}
    asked.clear()
    probes._PREPARED.clear()
    later = ceilings.measure_limits("cpu", {"L2": 2**16}, ("f32",), budget, shelf=shelf)
    assert (later.ceilings, later.levels) == (first.ceilings, first.levels)
    assert [code for _, code in asked] == ["the fastest"] * 2
    monkeypatch.setattr(known_ceilings, "FRESH_S", 0.0)
    again = ceilings.measure_limits("cpu", {"L2": 2**16}, ("f32",), budget, shelf=shelf)
    assert again.ceilings.probed_at > first.ceilings.probed_at


def _probe(asked: list[tuple[str, str]], label: str, code: str) -> probes.Probe:
    asked.append((label, code))
    return probes.Probe(label, lambda: 10.0, "the fastest")


def test_time_is_compiling_or_what_it_was_spent_in() -> None:
    spent, order = Spent(), []
    with both(spent.measuring, lambda: compiling())():
        order.append("compiled")
    assert order == ["compiled"]
    assert 0 <= spent.measuring_s < spent.compiling_s + 1e-3
    with spent.proving():
        pass
    assert spent.proving_s > 0
