"""What is stored comes back: whole, once, to many processes, and by a condition."""

import dataclasses
import math
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.errors import UsageError
from roofcast.harness.files import durable
from roofcast.harness.store import store
from roofcast.harness.store.record import Outcome, new_id, schema
from roofcast.harness.store.store import Report, Store


def files(here):
    return sorted(here.folder.glob("*.parquet"))


def identifiers(report):
    return sorted(record.record_id for record in report.found)


@settings(max_examples=15)
@given(data=st.data())
def test_what_is_stored_comes_back(tmp_path_factory, data, measurements):
    records = data.draw(st.lists(measurements, max_size=4))
    here = Store(tmp_path_factory.mktemp("results"))
    here.append(records)
    assert sorted(here.read().found, key=lambda one: one.record_id) == sorted(records, key=lambda one: one.record_id)


def test_infinity_comes_back_and_compares(here, measurement):
    wide = dataclasses.replace(measurement().statistics, latency_high_us=math.inf, precision_reached=math.inf)
    here.append([measurement(statistics=wide), measurement()])
    (found,) = here.read("precision_reached > 1e300").found
    assert found.statistics == wide


def test_other_readers_of_parquet_see_the_same_columns(here, measurement):
    table = pq.read_table(here.append([measurement()]))
    kinds = {"VARCHAR": "string", "BIGINT": "int64", "DOUBLE": "double", "BOOLEAN": "bool"}
    plain = {name: kinds[kind] for name, kind in schema().items() if kind in kinds}
    assert table.column_names == list(schema())
    assert {name: str(table.schema.field(name).type) for name in plain} == plain
    assert table["samples_us"].to_pylist() == [[6000.0, 6100.0]]


def test_every_column_can_be_written_in_sql_without_quotes(filled):
    (row,) = filled.query(f"SELECT {', '.join(schema())} FROM records LIMIT 1").found
    assert list(row) == list(schema())


def test_nothing_to_keep_makes_no_file(here):
    assert here.append([]) is None
    assert not here.folder.exists()


def test_a_file_is_named_by_time_and_run(here, measurement):
    names = [here.append([measurement()]).name for _ in range(3)]
    assert names == sorted(names)
    assert len(set(names)) == 3
    assert all(f"-{'a' * 12}-" in name for name in names)
    strange = dataclasses.replace(measurement().run, run_id="../ä")
    assert here.append([measurement(run=strange)]).parent == here.folder
    assert len(here.read().found) == 4


def test_measurements_are_found_by_a_condition(here, measurement):
    failed = Outcome(status="failed", reason="it broke")
    here.append([measurement(), measurement(outcome=failed, timing=None, statistics=None)])
    here.append([measurement(started_at="2020-01-01T00:00:00.000000+00:00")])
    assert [one.outcome.status for one in here.read("status <> 'ok'").found] == ["failed"]
    assert len(here.read("latency_us > ? AND op = ?", [1.0, "gemv"]).found) == 2
    assert here.read().found[0].started_at.startswith("2020")
    assert len(here.read("TRUE -- and so on").found) == 3
    (row,) = here.query("SELECT count(*) AS n, max(cache_read_gbs['L2']) AS l2 FROM records WHERE axes->>'n' = '14336'").found
    assert row == {"n": 3, "l2": 150.0}
    assert here.query("with good as (select * from records where status = 'ok') select count(*) as n from good").found == [
        {"n": 2}
    ]


@pytest.mark.parametrize("condition", ["colour = 'blue'", "status =", "label::INT = 3", "TRUE; DROP TABLE records"])
def test_a_condition_that_makes_no_sense_is_named(filled, condition):
    with pytest.raises(UsageError, match="must be SQL on the columns of a record") as caught:
        filled.read(condition)
    assert repr(condition) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_has_no_measurements_but_all_columns(here):
    here.check_writable()
    assert here.read("latency_us > 1") == Report([])
    assert here.query("SELECT median(read_gbs) AS m FROM records WHERE host_key = 'x'").found == [{"m": None}]


@pytest.mark.parametrize(
    ("name", "sibling"), [("a=b", "c"), ("[1]", "1"), ("a*", "ab"), ("it's", "its"), ("späße 世界", "x"), ("-x", "x")]
)
def test_a_folder_may_have_any_name(tmp_path, measurement, name, sibling):
    here = Store(tmp_path / name)
    here.append([measurement()])
    here.append([measurement()])
    for _ in range(2):
        # The sibling is what the name means as a pattern.
        shutil.copytree(here.folder, tmp_path / sibling, dirs_exist_ok=True)
        rows = here.query("SELECT * FROM records").found
        assert {Path(row["filename"]).parent for row in rows} == {here.folder}
        assert len(rows) == 2
        assert "a" not in rows[0]
        here.compact()


def test_only_its_own_files_are_read(filled, measurement):
    kept = identifiers(filled.read())
    duckdb.sql("SELECT 1 AS latency_us").write_parquet(str(filled.folder / "mine.parquet"))
    shutil.copy(files(filled)[0], filled.folder / "copy of results.parquet")
    (filled.folder / ".123-abcdef01.tmp").write_bytes(b"PAR1")
    (filled.folder / "notes.md").write_text("slow on Tuesdays")
    Store(filled.folder / "below").append([measurement()])
    assert identifiers(filled.read()) == kept
    assert filled.read().complaint == ""


def test_files_of_other_schemas_are_read(filled, measurement):
    first = files(filled)[0]
    earlier = first.with_name(first.name.replace("a" * 12, "earlier"))
    query = (
        "SELECT * EXCLUDE (record_id, cost_note, environment, git_dirty, context), 'old' AS record_id, 7::INTEGER AS context,"
        " 'blue' AS colour FROM read_parquet(?) LIMIT 1"
    )
    duckdb.execute(f"COPY ({query}) TO '{earlier}' (FORMAT parquet)", [str(first)])
    (old,) = filled.read("record_id = 'old'").found
    assert old.compilation == measurement().compilation
    assert old.subject.context == 7
    assert filled.query("SELECT record_id FROM records WHERE colour = 'blue'").found == [{"record_id": "old"}]
    for file in files(filled):
        if file != earlier:
            file.unlink()
    assert filled.read("cost_note = '' OR git_dirty IS NULL").found == [old]


def test_many_processes_write_at_once_while_others_read_and_merge(here, start_writer):
    here.check_writable()
    writers = [start_writer(here.folder, batches=10, size=10) for _ in range(8)]
    seen, merges = 0, 0
    while any(writer.poll() is None for writer in writers):
        report = here.read()
        assert report.complaint == ""
        assert len(report.found) >= seen
        assert len(set(identifiers(report))) == len(report.found)
        seen = len(report.found)
        merges += here.compact() is not None
    assert [writer.returncode for writer in writers] == [0] * 8
    assert merges
    written = sorted(name for writer in writers for name in writer.stdout.read().split())
    assert len(written) == 8 * 100
    assert identifiers(here.read()) == written


def test_merging_keeps_every_record_once(filled):
    before = filled.read().found
    merged = filled.compact()
    assert files(filled) == [merged]
    assert filled.read().found == before
    assert filled.compact() is None
    assert filled.compact(at_least=5) is None


def test_merging_waits_until_it_is_worth_the_while(filled):
    assert filled.compact(at_least=4) is None
    assert len(files(filled)) == 3
    assert filled.compact(at_least=3) is not None


def test_only_one_process_merges(filled):
    with durable.sole(filled.folder / ".merging.tmp") as is_sole:
        assert is_sole
        assert filled.compact() is None
    assert len(files(filled)) == 3
    assert filled.compact() is not None


def test_a_reader_starts_over_when_files_are_merged_under_it(filled, monkeypatch):
    before = filled.read().found
    ask = store._query
    asked = []

    def merge_first(*arguments):
        if not asked:
            filled.compact()
        asked.append(arguments)
        return ask(*arguments)

    monkeypatch.setattr(store, "_query", merge_first)
    report = filled.read()
    assert len(asked) == 2
    assert report.found == before
    assert report.complaint == ""


def test_identifiers_are_unique():
    assert len({new_id() for _ in range(1000)}) == 1000


def test_importing_the_store_loads_neither_duckdb_nor_jax():
    script = (
        "import sys, roofcast.harness.store.store; sys.exit(any(name in sys.modules for name in ('duckdb', 'pyarrow', 'jax')))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
