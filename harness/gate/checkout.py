"""Two revisions of the checkout side by side, in folders that are gone afterwards and never stand in the next run's way."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from ..errors import UsageError

ROOMS = ("kernels", "harness", "conf")
"""Where the kernels and what they are asked for stand in a checkout of roofcast."""
_PREFIX = "roofcast-gate-"
_ALIVE = ".alive"
_TIMEOUT_S = 120


@dataclass(frozen=True)
class Revision:
    """A state of the code, on the disk.

    Attributes:
        name: as people know it: what was asked for, and the commit it means.
        commit: full hash of the commit, of a working tree the one it is based on.
        folder: with `kernels/`, `harness/` and `conf/`; for a suite, with any project.
        python: interpreter that runs it.
        is_changed: the folder is a working tree with changes that are not committed.
    """

    name: str
    commit: str
    folder: Path
    python: str = sys.executable
    is_changed: bool = False


@contextmanager
def side_by_side(
    base: str | None, head: str | None, start: Path, *, any_project: bool = False
) -> Iterator[tuple[Revision, Revision, Path]]:
    """Base and head, and a folder for whatever else the run needs; all of it is removed on leaving.

    What a killed run left is removed on entering: a run holds a lock on its folder, which the system lets go of with it.

    Args:
        base: a commit in any of git's spellings; where head and the main branch parted if None.
        head: likewise; the working tree, as it is, if None.
        start: a folder in the checkout.
        any_project: the checkout need not be roofcast's.

    Raises:
        UsageError: outside a checkout, or for a commit that is not there.
    """
    top = top_of(start, any_project=any_project)
    sweep(top)
    head_commit = _commit(top, "head", head or "HEAD")
    base_commit = _commit(top, "base", base) if base is not None else _parting(top, head_commit)
    with ExitStack() as stack:
        folder = stack.enter_context(_alive_folder())
        trees = [stack.enter_context(_worktree(top, base_commit, folder / "base"))]
        trees.append(top if head is None else stack.enter_context(_worktree(top, head_commit, folder / "head")))
        rooms = () if any_project else ROOMS
        changed = head is None and bool(_changes(top, rooms))
        name = _name(head, head_commit) if head else _working_tree(head_commit, is_changed=changed)
        one = Revision(_name(base or "merge-base", base_commit), base_commit, trees[0])
        yield one, Revision(name, head_commit, trees[1], is_changed=changed), folder


def is_still(revision: Revision) -> bool:
    """Whether the kernels in its folder are those of its commit, now as when it was checked out or looked at first."""
    at = _git(revision.folder, "rev-parse", "HEAD").stdout.strip()
    return not revision.is_changed and at == revision.commit and not _changes(revision.folder, ROOMS, "--untracked-files=no")


def overlooked(head: str | None, start: Path, *, any_project: bool = False) -> str:
    """A sentence for whoever names a commit while there are changes in the working tree; empty where nothing is overlooked."""
    top = top_of(start, any_project=any_project)
    rooms = () if any_project else ROOMS
    if head is None or not _changes(top, rooms, "--untracked-files=no"):
        return ""
    return f"head={head} is measured as it was committed: the working tree's changes are not part of it"


def sweep(top: Path) -> None:
    """Removes the worktrees and folders of runs that were killed; those of runs that go on are left alone."""
    listed = _git(top, "worktree", "list", "--porcelain").stdout.splitlines()
    paths = [Path(line.removeprefix("worktree ")) for line in listed if line.startswith("worktree ")]
    ours = [path for path in paths if path.parent.name.startswith(_PREFIX)]
    roots = {path.parent for path in ours} | set(Path(tempfile.gettempdir()).glob(f"{_PREFIX}*"))
    dead = {root for root in roots if _is_dead(root)}
    for path in ours:
        if path.parent in dead:
            # Not `prune`, which would also forget somebody's worktree on a disk that is not there today. Forced twice: git
            # locks a worktree while it makes it, and a git that was killed then never unlocks it.
            _git(top, "worktree", "remove", "--force", "--force", str(path))
    for root in dead:
        shutil.rmtree(root, ignore_errors=True)


@contextmanager
def _alive_folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
    # Locked before it has its name: nobody ever sees a living run's folder with a free lock.
    with open(folder / f"{_ALIVE}.new", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.rename(lock.name, folder / _ALIVE)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _is_dead(root: Path) -> bool:
    try:
        with open(root / _ALIVE) as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except FileNotFoundError:
        return not root.exists()
    except OSError:
        return False
    return True


@contextmanager
def _worktree(top: Path, commit: str, folder: Path) -> Iterator[Path]:
    done = _git(top, "worktree", "add", "--detach", "--quiet", str(folder), commit)
    if done.returncode:
        raise UsageError(f"git must be able to check {commit[:9]} out; it says: {_last_line(done.stderr)}")
    try:
        yield folder
    finally:
        _git(top, "worktree", "remove", "--force", str(folder))


def top_of(start: Path, *, any_project: bool = False) -> Path:
    """The top folder of the checkout that a folder lies in.

    Raises:
        UsageError: if it lies in none, or in one that is not roofcast's though it must be.
    """
    done = _git(start, "rev-parse", "--show-toplevel")
    top = Path(done.stdout.strip())
    if done.returncode and any_project:
        raise UsageError(f"gate must be run inside a git checkout; got {str(start)!r}")
    if done.returncode or not (any_project or (top / "kernels" / "op.py").is_file()):
        raise UsageError(f"gate must be run inside a git checkout of roofcast; got {str(start)!r}")
    return top


def commit_named(top: Path, ref: str) -> str:
    """The full hash of a commit in any of git's spellings; empty where there is none."""
    found = _git(top, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{ref}^{{commit}}").stdout.strip()
    # Of a range git names both ends.
    return found if found.isalnum() else ""


def _commit(top: Path, field: str, ref: str) -> str:
    if not (found := commit_named(top, ref)):
        raise UsageError(f"{field} must be a commit, branch or tag that is here; got {ref!r}{_shallow(top)}")
    return found


def _parting(top: Path, head: str) -> str:
    for branch in ("main", "origin/main", "master", "origin/master"):
        done = _git(top, "merge-base", branch, head)
        if not done.returncode:
            return done.stdout.strip()
    raise UsageError(f"base must be given: there is no commit that this one and a branch main have in common{_shallow(top)}")


def _shallow(top: Path) -> str:
    is_shallow = _git(top, "rev-parse", "--is-shallow-repository").stdout.strip() == "true"
    return "; this clone is shallow: fetch more of it (git fetch --unshallow, or fetch-depth: 0 in the workflow)" * is_shallow


def _changes(folder: Path, rooms: Sequence[str], *options: str) -> str:
    return _git(folder, "status", "--porcelain", *options, "--", *rooms).stdout.strip()


def _working_tree(commit: str, *, is_changed: bool) -> str:
    return f"working tree on {commit[:9]}{', with changes that are not committed' * is_changed}"


def _name(ref: str, commit: str) -> str:
    return commit[:9] if commit.startswith(ref) else f"{ref} ({commit[:9]})"


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["nothing"])[-1]


def _git(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    # Inside a git hook GIT_DIR points at another repository than the folder's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(folder), *arguments]
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=_TIMEOUT_S, env=environment, check=False)
    except OSError as error:
        raise UsageError(f"git must be installed to tell revisions apart: {error.strerror}") from None
    except subprocess.TimeoutExpired:
        raise UsageError(f"git must answer within {_TIMEOUT_S} s; got none to git {' '.join(arguments)}") from None
