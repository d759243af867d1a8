"""Revisions side by side in a repository of three commits, and what is left behind."""

import os
import signal
import subprocess
import sys
import tempfile

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.gate.checkout import overlooked, side_by_side


def git(folder, *arguments):
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    done = subprocess.run(("git", "-C", folder, *who, *arguments), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def commit(folder, text):
    (folder / "kernels").mkdir(exist_ok=True)
    (folder / "kernels" / "op.py").write_text(text)
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", text)


@pytest.fixture
def repository(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    (tmp_path / "temporary").mkdir()
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    commit(folder, "one")
    git(folder, "checkout", "-qb", "topic")
    commit(folder, "two")
    commit(folder, "three")
    return folder


def op(revision):
    return (revision.folder / "kernels" / "op.py").read_text()


def worktrees(repository):
    return git(repository, "worktree", "list", "--porcelain").count("worktree ")


def test_both_revisions_are_there_and_gone_afterwards(repository):
    with side_by_side("HEAD~1", "HEAD", repository) as (base, head, folder):
        assert (op(base), op(head)) == ("two", "three")
        assert base.name.startswith("HEAD~1 (")
        assert worktrees(repository) == 3
    assert worktrees(repository) == 1
    assert not folder.exists()


def test_without_names_the_working_tree_is_held_against_where_main_was_left(repository):
    (repository / "kernels" / "op.py").write_text("four")
    with side_by_side(None, None, repository / "kernels") as (base, head, _):
        assert (op(base), op(head)) == ("one", "four")
        assert head.name.endswith("with changes that are not committed")


def test_changes_that_a_named_commit_leaves_out_are_told(repository):
    assert overlooked("HEAD", repository) == ""
    (repository / "kernels" / "op.py").write_text("four")
    assert overlooked(None, repository) == ""
    assert "head=HEAD is measured as it was committed" in overlooked("HEAD", repository)


@pytest.mark.parametrize(
    ("base", "head", "field"),
    [("nowhere", "HEAD", "base"), ("HEAD", "-x", "head"), ("", None, "base"), ("HEAD~1..HEAD", None, "base")],
)
def test_a_reference_that_is_not_there_is_named(repository, base, head, field):
    with pytest.raises(UsageError, match=f"^{field} must be a commit"), side_by_side(base, head, repository):
        pass
    assert worktrees(repository) == 1


def test_a_shallow_clone_is_told_how_to_get_the_rest(repository, tmp_path):
    git(tmp_path, "clone", "-q", "--depth", "1", f"file://{repository}", "shallow")
    with pytest.raises(UsageError, match="fetch-depth: 0"), side_by_side("HEAD~1", None, tmp_path / "shallow"):
        pass


def test_no_branch_to_part_from_asks_for_a_base(repository):
    git(repository, "branch", "-m", "main", "other")
    with pytest.raises(UsageError, match=r"^base must be given"), side_by_side(None, None, repository):
        pass


def test_elsewhere_than_in_a_checkout_is_refused(tmp_path):
    with pytest.raises(UsageError, match="inside a git checkout of roofcast"), side_by_side(None, None, tmp_path):
        pass


def test_what_a_killed_run_left_is_removed_and_a_living_one_left_alone(repository, tmp_path):
    script = """
import sys, tempfile
from pathlib import Path
from roofcast.harness.gate.checkout import overlooked, side_by_side
tempfile.tempdir = sys.argv[2]
with side_by_side("HEAD~1", "HEAD", Path(sys.argv[1])):
    print("ready", flush=True)
    sys.stdin.read()
"""
    command = (sys.executable, "-c", script, str(repository), tempfile.gettempdir())
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline() == "ready\n"
        with side_by_side("HEAD~1", None, repository):
            assert worktrees(repository) == 4
        os.kill(process.pid, signal.SIGKILL)
    assert worktrees(repository) == 3
    # As git leaves one that it was killed over.
    git(repository, "worktree", "lock", "base")
    with side_by_side("HEAD~1", None, repository):
        assert worktrees(repository) == 2
    assert worktrees(repository) == 1
    assert not list((tmp_path / "temporary").iterdir())
