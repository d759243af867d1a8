"""Measurements in an object store: fsspec's own in memory, and a real S3 server on loopback where one is installed."""

import os
import subprocess
import sys
import textwrap

import fsspec
import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.store.record import new_id
from roofcast.harness.store.store import Report, Store


@pytest.fixture
def here(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return Store(f"memory://{new_id()}/results")


def objects(here):
    system, root = fsspec.url_to_fs(here.folder)
    return {name.rpartition("/")[2] for name in system.find(root)}


def identifiers(report):
    return sorted(one.record_id for one in report.found)


def test_what_is_stored_comes_back_also_where_nothing_was_fetched_before(here, measurement, monkeypatch, tmp_path):
    assert here.read() == Report([])
    records = [measurement(), measurement()]
    names = {here.append([one]).name for one in records}
    assert objects(here) == names
    for cache in ("cache", "another machine's"):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / cache))
        assert identifiers(Store(here.folder).read()) == sorted(one.record_id for one in records)


def test_looking_whether_it_can_be_written_leaves_nothing(here):
    here.check_writable()
    assert objects(here) == set()


def test_merging_keeps_every_record_once_and_removes_what_it_was_made_of(here, measurement):
    for _ in range(3):
        here.append([measurement()])
    before = identifiers(here.read())
    merged = here.compact()
    assert merged is not None
    assert objects(here) == {merged.name}
    assert identifiers(here.read()) == before
    assert here.compact() is None


def test_only_one_process_merges(here, measurement):
    for _ in range(2):
        here.append([measurement()])
    system, root = fsspec.url_to_fs(here.folder)
    system.pipe_file(f"{root}/.merging.tmp", b"claimed")
    assert here.compact() is None
    assert len(here.read().found) == 2


def test_an_object_that_was_cut_short_costs_only_itself(here, measurement):
    names = [here.append([measurement()]).name for _ in range(2)]
    system, root = fsspec.url_to_fs(here.folder)
    system.pipe_file(f"{root}/{names[0]}", system.cat_file(f"{root}/{names[0]}")[:-100])
    report = here.read()
    assert len(report.found) == 1
    assert f"{names[0]} (cut short)" in report.complaint


def test_storage_that_nothing_installed_speaks_to_is_said_in_one_sentence(measurement):
    with pytest.raises(UsageError, match="results must be a folder or the URL of a storage") as caught:
        Store("nowhere://bucket/prefix").append([measurement()])
    assert "'nowhere://bucket/prefix'" in str(caught.value)


@pytest.fixture
def bucket(tmp_path, monkeypatch):
    """A bucket of an S3 server on loopback, in a process of its own."""
    pytest.importorskip("s3fs", reason="the extra s3 is not installed")
    pytest.importorskip("moto.server", reason="moto's S3 server is not installed")
    code = """
        from moto.server import ThreadedMotoServer
        server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
        server.start()
        print(*server.get_host_and_port(), flush=True)
        input()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        host, port = server.stdout.readline().split()
        given = {"AWS_ENDPOINT_URL": f"http://{host}:{port}", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
        for name, value in (given | {"AWS_DEFAULT_REGION": "us-east-1", "XDG_CACHE_HOME": str(tmp_path)}).items():
            monkeypatch.setenv(name, value)
        fsspec.filesystem("s3", skip_instance_cache=True).mkdir("bucket")
        yield "s3://bucket"
        server.kill()


WRITER = """
    import dataclasses, sys
    from roofcast.harness.store.record import new_id
    from roofcast.harness.store.store import Store

    here = Store(sys.argv[1])
    (one,) = here.read().found[:1]
    for _ in range(4):
        here.append([dataclasses.replace(one, record_id=new_id()) for _ in range(25)])
"""


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
def test_many_processes_write_to_one_bucket(bucket, measurement, tmp_path):
    here = Store(f"{bucket}/sweeps")
    here.check_writable()
    here.append([measurement()])
    writers = [
        subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(WRITER), here.folder],
            env=os.environ | {"XDG_CACHE_HOME": str(tmp_path / str(number))},
        )
        for number in range(2)
    ]
    assert [writer.wait() for writer in writers] == [0, 0]
    before = identifiers(here.read())
    assert len(set(before)) == len(before) == 1 + 2 * 4 * 25
    assert here.compact() is not None
    assert identifiers(here.read()) == before
    assert len(fsspec.filesystem("s3").ls("bucket/sweeps", refresh=True)) == 1
    with pytest.raises(UsageError, match="results must be a folder that can be written to"):
        Store("s3://no-such-bucket/results").append([measurement()])
