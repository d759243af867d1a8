"""Change points against series whose changes are known, the order of commits, and what Apache Otava is given."""

import csv
import math
from dataclasses import replace

import numpy as np
import pytest
import yaml
from roofcast.harness import cli
from roofcast.harness.history.changes import change_points
from roofcast.harness.history.series import Point, in_order, kernel, measured
from roofcast.harness.report import history as report
from roofcast.harness.store.store import Store

LEAST = math.log1p(0.03)


def test_a_step_is_found_where_it_is():
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0, 0.01, 15), rng.normal(0.06, 0.01, 12), rng.normal(-0.1, 0.01, 14)])
    found = change_points(values.tolist(), least=LEAST)
    assert [one.place for one in found] == [15, 27]
    assert found[0].after - found[0].before == pytest.approx(0.06, abs=0.01)
    assert all(one.p <= 0.01 for one in found)


def test_noise_alone_is_rarely_called_a_change():
    rng = np.random.default_rng(1)
    flagged = [bool(change_points(rng.standard_t(3, 20).tolist(), least=0.0, permutations=199, seed=n)) for n in range(60)]
    assert sum(flagged) <= 3


def test_a_step_that_does_not_matter_is_left_out():
    values = [0.0, 0.001, 0.0, 0.001] * 4 + [0.01, 0.011, 0.01, 0.011] * 4
    assert change_points(values, least=LEAST) == []
    assert [one.place for one in change_points(values, least=0.005)] == [16]


@pytest.mark.parametrize("values", [[], [1.0], [1.0, 2.0, 3.0], [1.0] * 12])
def test_too_few_or_equal_points_have_no_change(values):
    assert change_points(values, least=LEAST) == []


def point(commit, started_at, latency_us=1.0, *, dirty=False):
    return Point(commit, dirty, started_at, latency_us, 0.9)


def test_points_come_in_the_order_of_the_commits_and_unknown_ones_as_they_weremeasured():
    points = [point("b", "1"), point("x", "2"), point("a", "3"), point("a", "0", dirty=True)]
    assert [one.commit for one in in_order(points, {"a": 0, "b": 1})] == ["a", "a", "x", "b"]
    assert [one.dirty for one in in_order(points, {"a": 0, "b": 1})] == [False, True, False, False]


def slowed():
    points = [point("a", f"2026-01-{day:02}T00:00:00+00:00", 100 + day % 2) for day in range(1, 13)]
    points += [point("b", f"2026-02-{day:02}T00:00:00+00:00", 110 + day % 2) for day in range(1, 13)]
    return kernel(("gemv 8x8 bf16", "xla.dot", "cold"), points, {"a": 0, "b": 1}, "latency_us", 0.03, 0.01)


def test_the_table_names_the_commit_that_a_change_came_with():
    (row,) = report.table([slowed()], "latency_us", 3).rows
    assert row[-2].startswith("+10.0% at b, p ")
    assert row[5][0] == "▁"
    assert row[5][-1] == "█"


def test_sparklines_are_as_wide_as_they_may_be():
    assert report.sparkline([]) == ""
    assert report.sparkline([1.0]) == "▁"
    assert report.sparkline([1, 2, 4]) == "▁▅█"
    assert len(report.sparkline(range(1, 1000))) == 24


def test_otava_finds_a_test_with_its_columns(tmp_path):
    report.write([slowed()], "latency_us", tmp_path / "history.csv")
    ((name, test),) = yaml.safe_load((tmp_path / "history.yaml").read_text())["tests"].items()
    with open(test["file"], newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 24
    assert {test["time_column"], *test["attributes"], *test["metrics"]} == set(rows[0])
    assert name == "gemv-8x8-bf16-xla.dot-cold"
    assert (tmp_path / "history.csv").read_text().startswith("time,commit,test,latency_us\n")


def test_times_by_unlike_clocks_are_two_series(tmp_path, measurement):
    host = measurement()
    device = measurement(record_id="b" * 32, timing=replace(host.timing, timer="cupti"))
    store = Store(tmp_path)
    store.append([host, device])
    rows = measured(store, host.host.machine_key).found
    assert sorted(row["residency"] for row in rows) == ["cold", "cold, cupti"]


@pytest.mark.parametrize(
    ("override", "words"),
    [("quantity=speed", "quantity must be one of"), ("least=0", "least must be a number"), ("output=a.md", "ending in .csv")],
)
def test_bad_input_is_one_sentence(tmp_path, monkeypatch, capsys, override, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    assert cli.run(["history", override]) == 2
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1
