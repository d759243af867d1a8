import dataclasses
import math
import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness import durable, store
from roofcast.harness.errors import UsageError
from roofcast.harness.record import Outcome, new_id, schema
from roofcast.harness.store import Report, Store

WRITER = """
    import dataclasses, itertools, pickle, sys
    from pathlib import Path
    from roofcast.harness.record import new_id
    from roofcast.harness.store import Store

    folder, pickled, batches = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    one = pickle.loads(pickled.read_bytes())
    for _ in itertools.count() if batches < 0 else range(batches):
        records = [dataclasses.replace(one, record_id=new_id()) for _ in range(3)]
        Store(folder).append(records)
        print(*(record.record_id for record in records), flush=True)
"""


@pytest.fixture
def here(tmp_path):
    return Store(tmp_path / "results")


@pytest.fixture
def filled(here, measurement):
    """A store with three files of two measurements."""
    for _ in range(3):
        here.append([measurement(), measurement()])
    return here


@pytest.fixture
def start_writer(tmp_path, measurement):
    """Starts a process that appends three measurements at a time, and prints their identifiers once they are kept."""
    pickled = tmp_path / "measurement.pickle"
    pickled.write_bytes(pickle.dumps(measurement()))
    started = []

    def start(folder, batches=-1, before=""):
        command = [
            sys.executable,
            "-c",
            textwrap.dedent(before) + textwrap.dedent(WRITER),
            str(folder),
            str(pickled),
            str(batches),
        ]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


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


def damage_empty(content):
    return b""


def damage_head(content):
    return content[: len(content) // 2]


def damage_tail(content):
    return content[:-1]


def damage_footer(content):
    footer = int.from_bytes(content[-8:-4], "little")
    return content[: -8 - footer] + bytes(footer) + content[-8:]


def damage_data(content):
    footer = int.from_bytes(content[-8:-4], "little")
    return content[:4] + b"\xff" * (len(content) - 12 - footer) + content[-8 - footer :]


def damage_kind(content):
    return b"{}"


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_empty, "empty"),
        (damage_head, "cut short"),
        (damage_tail, "cut short"),
        (damage_kind, "not a Parquet file"),
        (damage_footer, ""),
        (damage_data, ""),
    ],
    ids=lambda one: getattr(one, "__name__", ""),
)
def test_a_damaged_file_costs_only_itself(filled, damage, reason):
    victim = files(filled)[1]
    lost = [row["record_id"] for row in filled.query("SELECT record_id FROM records WHERE filename = ?", [str(victim)]).found]
    kept = [one for one in identifiers(filled.read()) if one not in lost]
    victim.write_bytes(damage(victim.read_bytes()))
    report = filled.read()
    assert identifiers(report) == kept
    assert [one.file for one in report.unreadable] == [victim.name]
    assert f"{victim.name} ({reason}" in report.complaint
    assert "\n" not in report.complaint


def test_all_damaged_files_are_named(filled):
    for victim in files(filled):
        victim.write_bytes(victim.read_bytes()[:-20])
    report = filled.read()
    assert report.found == []
    assert [one.file for one in report.unreadable] == [one.name for one in files(filled)]


def test_a_stranger_under_one_of_our_names_is_left_out(filled):
    name = files(filled)[0].name.replace("a" * 12, "stranger")
    duckdb.sql("SELECT 1 AS flavour").write_parquet(str(filled.folder / name))
    report = filled.read()
    assert len(report.found) == 6
    assert [one.file for one in report.unreadable] == [name]


def test_a_record_that_says_what_cannot_be_is_left_out(filled):
    first = files(filled)[0]
    impossible = first.with_name(first.name.replace("a" * 12, "impossible"))
    query = "SELECT * REPLACE ('wrong' AS status, 'far off' AS reason) FROM read_parquet(?) LIMIT 1"
    duckdb.execute(f"COPY ({query}) TO '{impossible}' (FORMAT parquet)", [str(first)])
    report = filled.read()
    assert len(report.found) == 6
    assert "must not have statistics" in report.complaint
    assert impossible.name in report.complaint


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
    writers = [start_writer(here.folder, batches=12) for _ in range(3)]
    seen, merges = 0, 0
    while any(writer.poll() is None for writer in writers):
        report = here.read()
        assert report.complaint == ""
        assert len(report.found) >= seen
        assert len(set(identifiers(report))) == len(report.found)
        seen = len(report.found)
        merges += here.compact() is not None
    assert [writer.returncode for writer in writers] == [0, 0, 0]
    assert merges
    written = sorted(name for writer in writers for name in writer.stdout.read().split())
    assert len(written) == 3 * 12 * 3
    assert identifiers(here.read()) == written


def test_a_writer_that_is_killed_leaves_whole_files_only(here, start_writer):
    kept = []
    for extra_s in (0.0, 0.013, 0.031):
        writer = start_writer(here.folder)
        kept += [name for _ in range(3) for name in writer.stdout.readline().split()]
        time.sleep(extra_s)
        os.kill(writer.pid, signal.SIGKILL)
        kept += writer.stdout.read().split()
    report = here.read()
    assert report.complaint == ""
    assert set(kept) <= set(identifiers(report))
    assert len(report.found) == 3 * len(files(here))


STALL = """
    import time
    from roofcast.harness import durable

    def stall(path):
        print("written", flush=True)
        time.sleep(600)

    durable.to_disk = stall
"""


def test_a_writer_that_is_killed_before_all_is_on_the_disk_leaves_nothing_to_read(filled, start_writer):
    writer = start_writer(filled.folder, before=STALL)
    assert writer.stdout.readline() == "written\n"
    assert len(filled.read().found) == 6
    writer.kill()
    writer.wait()
    assert len(filled.read().found) == 6
    assert filled.read().complaint == ""
    assert [path.suffix for path in filled.folder.iterdir() if path not in files(filled)] == [".tmp"]


IMPOSSIBLE = {"a file": "file", "below a file": "file/below", "no place for folders": "/proc/results"}


@pytest.mark.parametrize("name", IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_a_folder_that_cannot_be_is_said_in_one_sentence(tmp_path, measurement, name):
    (tmp_path / "file").write_text("mine")
    here = Store(tmp_path / name)
    for action in (here.check_writable, lambda: here.append([measurement()]), here.read, here.compact):
        with pytest.raises(UsageError, match="results must be a folder") as caught:
            action()
        assert repr(str(tmp_path / name)) in str(caught.value)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_missing_folder_cannot_be_read_and_is_not_made_by_reading(here):
    with pytest.raises(UsageError, match="No such file or directory"):
        here.read()
    assert not here.folder.exists()


def test_looking_whether_it_can_be_written_leaves_nothing(here):
    here.check_writable()
    assert list(here.folder.iterdir()) == []


FULL = """
    import pickle, resource, sys
    from pathlib import Path
    from roofcast.harness.errors import UsageError
    from roofcast.harness.store import Store

    folder, one = Path(sys.argv[1]), pickle.loads(Path(sys.argv[2]).read_bytes())
    {limit}
    for action in (Store(folder).check_writable, lambda: Store(folder).append([one]), lambda: Store(folder).compact()):
        try:
            action()
        except UsageError as error:
            print(error)
"""


def refusals_on_a_full_disk(folder, pickled, limit):
    script = textwrap.dedent(FULL).format(limit=limit)
    done = subprocess.run([sys.executable, "-c", script, str(folder), str(pickled)], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_a_file_that_may_not_grow_is_refused_and_leaves_nothing(filled, tmp_path, measurement):
    (tmp_path / "pickle").write_bytes(pickle.dumps(measurement()))
    before = sorted(filled.folder.iterdir())
    limit = "resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))"
    said = refusals_on_a_full_disk(filled.folder, tmp_path / "pickle", limit)
    assert len(said) == 3
    assert all(line.startswith("results must be a folder") and line.endswith("File too large") for line in said)
    assert sorted(filled.folder.iterdir()) == before
    assert len(filled.read().found) == 6


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = shutil.which("mount") and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)], capture_output=True, check=False
    )
    if not mounted or mounted.returncode:
        pytest.skip("mounting a small file system needs privileges")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_is_said_in_one_sentence_and_nothing_half_written_is_left(small_disk, tmp_path, measurement):
    (tmp_path / "pickle").write_bytes(pickle.dumps(measurement()))
    (small_disk / "filler").write_bytes(bytes(60 * 1024))
    said = refusals_on_a_full_disk(small_disk, tmp_path / "pickle", "")
    assert len(said) == 2
    assert all(line.startswith("results must be a folder") and line.endswith("No space left on device") for line in said)
    assert [one.name for one in small_disk.iterdir()] == ["filler"]


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


def test_a_crash_between_merging_and_removing_counts_nothing_twice(filled):
    before = filled.read().found
    contents = {file: file.read_bytes() for file in files(filled)}
    filled.compact()
    for file, content in contents.items():
        file.write_bytes(content)
    assert filled.read().found == before
    assert filled.query("SELECT count(*) AS n FROM records").found == [{"n": 6}]
    filled.compact()
    assert filled.read().found == before


def test_merging_leaves_what_it_cannot_read(filled):
    victim = files(filled)[1]
    victim.write_bytes(damage_data(victim.read_bytes()))
    merged = filled.compact()
    assert files(filled) == sorted([merged, victim])
    assert len(filled.read().found) == 4


def test_only_one_process_merges(filled):
    with durable.sole(filled.folder / ".merging.tmp") as is_sole:
        assert is_sole
        assert filled.compact() is None
    assert len(files(filled)) == 3
    assert filled.compact() is not None


def test_what_killed_processes_left_is_removed_after_a_day(filled):
    old, young = filled.folder / ".merging.tmp", filled.folder / ".1-00000000.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert filled.compact() is not None
    assert not old.exists()
    assert young.exists()


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
    script = "import sys, roofcast.harness.store; sys.exit(any(name in sys.modules for name in ('duckdb', 'pyarrow', 'jax')))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0
