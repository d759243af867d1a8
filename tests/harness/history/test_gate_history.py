"""Verdicts in the store: whole, under the commits that they are of, and shown beside the kernels' history."""

import csv
import math
from dataclasses import replace

import pytest
from roofcast.harness import cli
from roofcast.harness.gate.judge import Comparison, Remark
from roofcast.harness.gate.kept import judged
from roofcast.harness.gate.pair import Estimate
from roofcast.harness.gate.verdict import Verdict
from roofcast.harness.history.verdicts import said, verdicts
from roofcast.harness.host.host import fingerprint
from roofcast.harness.store.record import Run
from roofcast.harness.store.store import Store

SLOWER = Estimate(math.log(1.09), math.log(1.1), math.log(1.11), 1e-9, 64)
SAME = Estimate(-0.01, 0.0, 0.01, 0.5, 64)
RUN = Run(run_id="a" * 32, roofcast_version="0")
FOUND = Comparison(
    "HEAD~1 (111111111)",
    "HEAD (222222222)",
    {
        ("gemv 8x8 bf16", "latency"): Verdict("slower", "+10.0% in 64 interleaved comparisons", SLOWER),
        ("gemv 8x8 bf16", "compile time"): Verdict("same", "within 10% either way", SAME),
        ("silu 8", "latency"): Verdict("same", "within 3% either way", SAME),
    },
    [Remark("rope 2x8", "newly wrong", "wrong: its error is too large")],
    (),
    {},
    {},
    1.0,
    code={"gemv 8x8 bf16": "xla.dot", "silu 8": "xla.plain"},
)


@pytest.fixture
def kept(tmp_path):
    here = fingerprint()
    records = list(judged(FOUND, ("1" * 40, "2" * 40), "cold", RUN, here))
    elsewhere = replace(records[0], record_id="b" * 32, host=replace(here, cpu_model="another"))
    verdicts(str(tmp_path)).append([*records, elsewhere])
    return records


def test_verdicts_come_back_as_they_were_kept(tmp_path, kept):
    found = said(str(tmp_path), kept[0].host.machine_key).found
    assert sorted(found, key=lambda one: one.record_id) == sorted(kept, key=lambda one: one.record_id)
    assert {one.quantity: one.ruling for one in found if one.label.startswith("gemv")} == {
        "latency": "slower",
        "compile time": "same",
    }
    (wrong,) = (one for one in found if one.ruling == "newly wrong")
    assert (wrong.label, wrong.quantity, wrong.point, wrong.implementation) == ("rope 2x8", "", None, "")


def test_a_kernel_that_was_asked_for_by_implementation_is_known_by_its_label(kept):
    named = replace(FOUND, verdicts={("silu 8 by xla.plain", "latency"): FOUND.verdicts["silu 8", "latency"]}, remarks=())
    (one,) = judged(replace(named, code={"silu 8 by xla.plain": "xla.plain"}), ("", "2" * 40), "warm", RUN, kept[0].host)
    assert (one.label, one.implementation, one.residency) == ("silu 8", "xla.plain", "warm")


def test_history_shows_what_the_gate_said_beside_the_kernels(tmp_path, monkeypatch, capsys, kept, measurement):
    subject = replace(measurement().subject, label="gemv 8x8 bf16", implementation="xla.dot")
    Store(tmp_path).append([replace(measurement(), subject=subject, host=kept[0].host)])
    monkeypatch.chdir(tmp_path)
    assert cli.run(["history", f"results={tmp_path}", "output=all.csv"]) == 0
    said = capsys.readouterr().out
    assert "slower +10.0% at 222222222" in said
    (line,) = (line for line in said.splitlines() if "111111111" in line)
    assert "gemv 8x8 bf16 +10.0% (+9.0% to +11.0%), rope 2x8 newly wrong" in line
    with open("all-gate.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["ruling"] for row in rows] == ["same", "slower", "newly wrong", "same"]
    assert all(row["head_commit"] == "2" * 40 for row in rows)


def test_a_damaged_file_is_named_and_costs_nothing_else(tmp_path, monkeypatch, capsys, kept):
    monkeypatch.chdir(tmp_path)
    (whole,) = (tmp_path / "verdicts").glob("*.parquet")
    whole.with_name(f"{whole.name[:-16]}00000000.parquet").write_bytes(b"PAR1")
    assert cli.run(["history", f"results={tmp_path}"]) == 1
    said = capsys.readouterr()
    assert "222222222" in said.out
    assert "left out" in said.err
