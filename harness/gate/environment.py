"""An environment of its own for each of two revisions whose dependencies differ, built once from the revision's lock.

Environments lie in the user's cache under a name made of the lock and of the Python. One appears under that name only when
it is whole. A file beside it is locked by whoever builds it, the builder's pip included, and by whoever uses it, so that what
a killed run left is neither taken for an environment nor removed under the hands of somebody.
"""

from __future__ import annotations

import fcntl
import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from .checkout import Revision
from .pair import Side
from .trial import NotComparableError

LOCKS = ("build.txt", "run.txt")
"""Files under `requirements/` that hold every package of an environment, in the order of installation."""
SUITE_LOCKS = (*LOCKS, "dev.txt")
"""Likewise for a suite of pytest-benchmark, which needs pytest too."""
KEPT = 4
"""Environments that stay in the cache; each takes a gigabyte or more."""
_LIMIT_S = 1800


@dataclass(frozen=True)
class Needs:
    """What a revision says of its dependencies.

    Attributes:
        declared: `dependencies` of its `pyproject.toml`.
        locks: name and content of its lock files without comments, in the order of installation.
    """

    declared: tuple[str, ...]
    locks: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """The same for the same locks on the same Python."""
        parts = (self.locks, sys.version, sys.base_prefix, platform.machine(), sys.platform)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:24]


def needs_of(folder: Path, locks: Sequence[str] = LOCKS) -> Needs:
    """What the revision in a folder needs; empty where it does not say.

    Raises:
        NotComparableError: if its pyproject.toml cannot be read.
    """
    project = folder / "pyproject.toml"
    try:
        facts = tomllib.loads(project.read_text(encoding="utf-8")) if project.is_file() else {}
    except (OSError, ValueError) as error:
        raise NotComparableError(f"its {project.name} cannot be read: {error}") from None
    paths = [folder / "requirements" / name for name in locks]
    found = tuple((path.name, _without_comments(path.read_text(encoding="utf-8"))) for path in paths if path.is_file())
    return Needs(tuple(sorted(facts.get("project", {}).get("dependencies", ()))), found)


def _without_comments(text: str) -> str:
    return "\n".join(line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#"))


@contextmanager
def environments(
    revisions: Mapping[Side, Revision], locks: Sequence[str], progress: Callable[[str], None]
) -> Iterator[Mapping[Side, Revision]]:
    """The revisions, each with the Python to run it with: this one, or one of its own where dependencies differ.

    Raises:
        NotComparableError: if they differ and an environment cannot be built.
    """
    needs: dict[Side, Needs] = {}
    for side, revision in revisions.items():
        try:
            needs[side] = needs_of(revision.folder, locks)
        except NotComparableError as error:
            raise NotComparableError(f"{side}, {revision.name}, cannot be measured: {error}") from None
    if needs["base"] == needs["head"]:
        yield revisions
        return
    with ExitStack() as stack:
        own: dict[Side, Revision] = {}
        for side, revision in revisions.items():
            progress(f"making the environment of {side} from its lock")
            try:
                python = stack.enter_context(environment(needs[side], revision.folder, cache()))
            except NotComparableError as error:
                raise NotComparableError(
                    f"the dependencies of {revisions['base'].name} and {revisions['head'].name} differ, so that each needs an "
                    f"environment of its own, and that of {side} cannot be built: {error}"
                ) from None
            own[side] = replace(revision, python=str(python))
        yield own


def cache() -> Path:
    """The folder of all environments."""
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(home) / "roofcast" / "environments"


@contextmanager
def environment(needs: Needs, folder: Path, cache: Path) -> Iterator[Path]:
    """The Python of an environment with these needs, which stays there until the end of the block.

    Args:
        needs: of the revision.
        folder: of the revision.
        cache: of all environments.

    Raises:
        NotComparableError: if it cannot be built.
    """
    if not needs.locks:
        raise NotComparableError(f"it has none of {', '.join(LOCKS)} under requirements/")
    home = cache / needs.key
    python = home / "bin" / "python"
    try:
        cache.mkdir(parents=True, exist_ok=True)
        lock = open(_lock_of(home), "a")  # noqa: SIM115
    except OSError as error:
        raise NotComparableError(f"{error.filename} cannot be written: {error.strerror}") from None
    with lock:
        fcntl.flock(lock, fcntl.LOCK_SH)
        # Between one lock and the next, somebody else may have built it, or cleared it away.
        while not python.exists():
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not python.exists():
                _build(needs, folder, home, lock.fileno())
                _make_room(cache)
            fcntl.flock(lock, fcntl.LOCK_SH)
        os.utime(lock.fileno())
        yield python


def _build(needs: Needs, folder: Path, home: Path, lock: int) -> None:
    part = home.with_suffix(".part")
    for leftover in (part, home):
        shutil.rmtree(leftover, ignore_errors=True)
    python = str(part / "bin" / "python")
    # A pip of its own takes longer to install than many a lock; an environment made by uv has none to lend.
    lent = importlib.util.find_spec("pip") is not None
    pip = [sys.executable, "-m", "pip", "--python", python] if lent else [python, "-m", "pip"]
    pip += ["--disable-pip-version-check", "--quiet", "install", "--no-deps", "--no-build-isolation", "--retries", "2"]
    try:
        _run("venv", [sys.executable, "-m", "venv", *["--without-pip"] * lent, str(part)], folder, lock)
        for name, _ in needs.locks:
            _run("pip", [*pip, "--require-hashes", "-r", str(folder / "requirements" / name)], folder, lock)
        os.replace(part, home)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _run(who: str, command: Sequence[str], folder: Path, lock: int) -> None:
    # Packages on somebody's PYTHONPATH would count as installed.
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    try:
        # With the lock in its hands, a pip that outlives a killed gate is waited for and not run into.
        done = subprocess.run(
            command,
            cwd=folder,
            env=variables,
            pass_fds=(lock,),
            capture_output=True,
            text=True,
            timeout=_LIMIT_S,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotComparableError(f"{who} did not end within {_LIMIT_S} s") from None
    except OSError as error:
        raise NotComparableError(f"{who} cannot be run: {error.strerror}") from None
    if done.returncode:
        lines = [line.strip() for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if line.lower().startswith("error")]
        raise NotComparableError(f"{who} says: {(errors or lines or ['nothing'])[0]}")


def _make_room(cache: Path) -> None:
    """Removes what killed builds left, and all but the latest environments that nobody uses."""
    folders = [path for path in cache.iterdir() if path.is_dir()]
    whole = sorted((path for path in folders if not path.suffix), key=_last_use, reverse=True)
    for path in [*(path for path in folders if path.suffix), *whole[KEPT:]]:
        with open(_lock_of(path), "a") as lock, suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)


def _last_use(home: Path) -> float:
    lock = _lock_of(home)
    return lock.stat().st_mtime if lock.exists() else 0.0


def _lock_of(path: Path) -> Path:
    return path.with_suffix(".lock")
