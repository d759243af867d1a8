"""Environments of revisions whose dependencies differ: from local wheels, or by a builder that stands in for pip."""

import fcntl
import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from roofcast.harness.gate import environment as module
from roofcast.harness.gate.checkout import Revision
from roofcast.harness.gate.environment import Needs, environment, environments, needs_of
from roofcast.harness.gate.trial import NotComparableError


def wheel(folder, version):
    """A package `tiny` of one module that says its version, as a line of a lock."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"tiny-{version}-py3-none-any.whl"
    info = f"tiny-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("tiny.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: tiny\nVersion: {version}\n")
        file.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr(f"{info}/RECORD", f"tiny.py,,\n{info}/METADATA,,\n{info}/WHEEL,,\n{info}/RECORD,,\n")
    return f"tiny @ file://{path} --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def revision(folder, lock, dependencies='["tiny"]'):
    (folder / "requirements").mkdir(parents=True)
    (folder / "requirements" / "run.txt").write_text(lock)
    (folder / "pyproject.toml").write_text(f"[project]\ndependencies = {dependencies}\n")
    return Revision(folder.name, "0" * 40, folder)


@pytest.fixture
def alone(tmp_path, monkeypatch):
    """A cache of its own, and a pip that asks nobody outside."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    return tmp_path


@pytest.fixture
def builder(alone, monkeypatch):
    """What stands in for venv and pip: makes the interpreter, or says why not."""
    calls = []

    def run(who, command, folder, lock):
        calls.append(who)
        if who == "venv":
            python = Path(command[-1]) / "bin" / "python"
            python.parent.mkdir(parents=True)
            python.touch()

    monkeypatch.setattr(module, "_run", run)
    return calls


def test_each_revision_has_what_its_own_lock_says_and_a_failure_is_one_sentence(alone):
    one = revision(alone / "one", wheel(alone / "wheels", "1.0"))
    other = revision(alone / "other", wheel(alone / "wheels", "2.0"))
    with environments({"base": one, "head": other}, ("run.txt",), print) as found:
        said = [
            subprocess.check_output([one.python, "-c", "import tiny; print(tiny.version)"], text=True, cwd=alone).strip()
            for one in found.values()
        ]
    assert said == ["1.0", "2.0"]
    other.folder.joinpath("requirements", "run.txt").write_text(f"nowhere==1.0 --hash=sha256:{'0' * 64}\n")
    with (
        pytest.raises(NotComparableError, match=r"that of head cannot be built: pip says: ERROR: .*nowhere==1\.0"),
        environments({"base": one, "head": other}, ("run.txt",), print),
    ):
        pass
    assert len([path for path in (alone / "cache").rglob("*") if path.name == "bin"]) == 2


def test_equal_dependencies_are_run_with_this_python(builder, alone):
    revisions = {"base": revision(alone / "one", "a\n"), "head": revision(alone / "other", "# made anew\na\n")}
    with environments(revisions, ("run.txt",), print) as found:
        assert [one.python for one in found.values()] == [sys.executable] * 2
    assert builder == []


def test_dependencies_that_differ_in_pyproject_alone_are_run_with_the_one_environment_of_their_lock(builder, alone):
    revisions = {"base": revision(alone / "one", "a"), "head": revision(alone / "other", "a", '["tiny>=2"]')}
    with environments(revisions, ("run.txt",), print) as found:
        (python,) = {one.python for one in found.values()}
    assert python != sys.executable
    assert builder == ["venv", "pip"]


def test_an_environment_is_built_once_and_again_only_where_it_is_gone(builder, alone):
    needs = Needs((), (("run.txt", "a"),))
    for _ in range(2):
        with environment(needs, alone, alone / "cache") as python:
            assert python.exists()
    assert builder == ["venv", "pip"]
    python.unlink()
    with environment(needs, alone, alone / "cache") as python:
        assert python.exists()
    assert builder == ["venv", "pip"] * 2


def test_what_a_killed_build_left_is_not_taken_for_an_environment(builder, alone):
    needs = Needs((), (("run.txt", "a"),))
    other = alone / "cache" / "0123.part" / "bin"
    half = alone / "cache" / f"{needs.key}.part" / "bin" / "python"
    for path in (other, half.parent):
        path.mkdir(parents=True)
    half.touch()
    with environment(needs, alone, alone / "cache") as python:
        assert python.exists()
    assert builder == ["venv", "pip"]
    assert not list((alone / "cache").glob("*.part"))


def test_the_oldest_environments_make_room_unless_they_are_in_use(builder, alone, monkeypatch):
    monkeypatch.setattr(module, "KEPT", 1)
    first, second, third = (Needs((), (("run.txt", text),)) for text in "abc")
    for needs, last_use in ((first, 1), (second, 2)):
        with environment(needs, alone, alone / "cache"):
            pass
        os.utime(alone / "cache" / f"{needs.key}.lock", (last_use, last_use))
    assert not (alone / "cache" / first.key).exists()
    with open(alone / "cache" / f"{second.key}.lock") as lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        with environment(third, alone, alone / "cache"):
            assert (alone / "cache" / second.key).exists()


def test_a_revision_without_a_lock_says_so(alone):
    bare = Revision("bare", "0" * 40, alone)
    with (
        pytest.raises(NotComparableError, match=r"that of base cannot be built: it has none of build\.txt"),
        environments({"base": bare, "head": revision(alone / "one", "a")}, ("run.txt",), print),
    ):
        pass


def test_a_pyproject_that_cannot_be_read_says_so(alone):
    (alone / "pyproject.toml").write_text("[project\n")
    with pytest.raises(NotComparableError, match=r"pyproject\.toml cannot be read"):
        needs_of(alone)
