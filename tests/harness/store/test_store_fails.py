"""What a store does with damage, full disks, killed writers and folders that cannot be: one sentence, and nothing lost."""

import os
import pickle
import shutil
import signal
import subprocess
import sys
import textwrap
import time

import duckdb
import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.files import durable
from roofcast.harness.store.store import Store


def files(here):
    return sorted(here.folder.glob("*.parquet"))


def identifiers(report):
    return sorted(record.record_id for record in report.found)


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


def damage_middle(content):
    return content[: len(content) // 3] + content[len(content) // 2 :]


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
        (damage_middle, ""),
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
    from roofcast.harness.files import durable

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


def test_a_folder_that_is_removed_in_mid_write_is_said_and_the_next_write_makes_it_anew(here, measurement, monkeypatch):
    here.append([measurement()])
    to_disk = durable.to_disk

    def remove_first(path):
        shutil.rmtree(here.folder, ignore_errors=True)
        to_disk(path)

    monkeypatch.setattr(durable, "to_disk", remove_first)
    with pytest.raises(UsageError, match=r"results must be a folder that can be written to.*No such file or directory"):
        here.append([measurement()])
    monkeypatch.undo()
    here.append([measurement()])
    assert len(here.read().found) == 1


def test_records_that_are_in_several_merged_files_count_once(filled):
    before = filled.read().found
    merged = filled.compact()
    for number in range(2):
        shutil.copy(merged, merged.with_name(merged.name.replace("-all-", f"-all{number}-")))
    assert len(files(filled)) == 3
    assert filled.read().found == before
    assert filled.query("SELECT count(*) AS n FROM records").found == [{"n": 6}]


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
    from roofcast.harness.store.store import Store

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


def test_what_killed_processes_left_is_removed_after_a_day(filled):
    old, young = filled.folder / ".merging.tmp", filled.folder / ".1-00000000.tmp"
    for path in (old, young):
        path.touch()
    os.utime(old, (time.time() - 2 * 24 * 3600,) * 2)
    assert filled.compact() is not None
    assert not old.exists()
    assert young.exists()
