"""Rates of the gate over known slow-downs, of rounds that are drawn here and not measured."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.gate.pair import Quad
from roofcast.harness.gate.selftest import report
from roofcast.harness.gate.selftest.load import neighbour
from roofcast.harness.gate.selftest.rates import Rate, found, peer_alarms, rulings, smallest_seen
from roofcast.harness.gate.selftest.rounds import Round, Shelf
from roofcast.harness.gate.verdict import Policy

POLICY = Policy()


def drawn(rng, kernels=("gemv", "norm"), noise=0.02, quads=64):
    """A round of kernels that take a second, on a machine that disturbs some samples."""

    def times(count):
        hit = (rng.random(count) < 0.1) * rng.exponential(0.5, count)
        return tuple(np.exp(rng.normal(0, noise, count) + hit).tolist())

    level = rng.uniform(0.9, 1.3)
    return Round(
        {name: tuple(Quad(times(2), times(2)) for _ in range(quads)) for name in kernels},
        {name: tuple(one * level for one in times(9)) for name in kernels},
        {name: times(9) for name in kernels},
        10.0,
    )


@pytest.fixture(scope="module")
def rounds():
    rng = np.random.default_rng(0)
    return [drawn(rng) for _ in range(12)]


def test_every_kernel_of_every_round_is_judged(rounds):
    assert len(rulings(rounds, 0.0, POLICY)) == 24
    assert len(peer_alarms(rounds, 0.0)) == 22


def test_what_is_unchanged_is_not_called_changed_and_what_is_slowed_is_called_slower(rounds):
    assert found(rulings(rounds, 0.0, POLICY), "slower", "faster").count == 0
    assert found(rulings(rounds, 0.05, POLICY), "slower").share >= 0.9
    assert found(rulings(rounds, 0.10, POLICY), "slower").share == 1


def test_a_suspicion_without_fresh_processes_stays_one(rounds):
    assert set(rulings(rounds[:1], 0.10, POLICY)) == {"inconclusive"}


def test_the_peer_compares_medians_of_two_runs():
    calm = Round({}, {"gemv": (1.0,) * 5}, {"gemv": (1.0,) * 5})
    assert peer_alarms([calm, calm], 0.0) == [False]
    assert peer_alarms([calm, calm], 0.11) == [True]
    assert peer_alarms([calm, calm], 0.09) == [False]


def test_the_smallest_slow_down_seen_lies_above_the_least_that_matters(rounds):
    smallest = smallest_seen(rounds, POLICY, [0.005, 0.01, 0.05, 0.1])
    assert smallest == 0.05
    assert smallest_seen(rounds, POLICY, [0.005]) is None


def test_a_rate_has_the_exact_interval():
    # Clopper and Pearson: 1 - 0.025^(1/200) where nothing was found in 200.
    assert Rate(0, 200).interval == (0.0, pytest.approx(1 - 0.025 ** (1 / 200)))
    assert Rate(0, 0).interval == (0.0, 1.0)


def test_the_table_has_a_row_for_no_slow_down_and_one_for_each(rounds):
    (table,) = report.tables(rounds, POLICY, [0.05, 0.2], is_loaded=True)
    assert [row[0] for row in table.rows] == ["none", "5%", "20%"]
    assert all(len(row) == len(table.columns) for row in table.rows)
    assert "burns a core" in table.title


def test_rounds_are_read_as_they_were_written_and_put_away_under_another_name(tmp_path, rounds):
    shelf = Shelf(tmp_path / "selftest" / "key")
    for one in rounds[:2]:
        shelf.add(one)
    assert shelf.rounds() == list(rounds[:2])
    away = shelf.put_away()
    assert len(list(away.iterdir())) == 2
    assert shelf.rounds() == []


@pytest.mark.parametrize("damage", ["", "{}", '{"quads": {"gemv": [[[0], [1]]]}, "base": {}, "head": {}, "seconds": 1}'])
def test_a_round_that_is_not_ours_is_named(tmp_path, damage):
    (tmp_path / "round-0001.json").write_text(damage)
    with pytest.raises(UsageError, match="round-0001"):
        Shelf(tmp_path).rounds()


def test_a_full_disk_is_one_sentence_and_leaves_nothing(tmp_path, monkeypatch, rounds):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="No space left"):
        Shelf(tmp_path / "key").add(rounds[0])
    assert list((tmp_path / "key").iterdir()) == []


def test_the_neighbour_goes_with_whoever_started_it():
    script = """
import sys
from roofcast.harness.gate.selftest.load import neighbour
import psutil
with neighbour(is_there=True):
    print(psutil.Process().children()[0].pid, flush=True)
    sys.stdin.read()
"""
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        burner = int(process.stdout.readline())
        process.kill()
    end = time.monotonic() + 30
    while psutil.pid_exists(burner) and psutil.Process(burner).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_there_is_no_neighbour_unless_it_is_asked_for():
    # Another test of this process may have left a browser open.
    before = psutil.Process().children()
    with neighbour(is_there=False):
        assert psutil.Process().children() == before
