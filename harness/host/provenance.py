"""Which code is running: the version that is installed and, in a checkout, its commit."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

PACKAGE_FOLDER = Path(__file__).parent.parent


@dataclass(frozen=True)
class Checkout:
    """The commit that a folder's files come from.

    Attributes:
        commit: full hash, or "" where the folder is not tracked by git.
        dirty: tracked files differ from that commit.
    """

    commit: str = ""
    dirty: bool = False


def version_of(distribution: str) -> str:
    """Version of an installed distribution, or "" where there is none. Imports nothing of it."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def checkout(folder: Path = PACKAGE_FOLDER) -> Checkout:
    """The state of the checkout that `folder` belongs to.

    A package installed into a virtual environment inside somebody's repository is not part of that repository,
    so the folder's own `__init__.py` must be tracked.
    """
    if _git(folder, "ls-files", "--error-unmatch", "__init__.py") is None:
        return Checkout()
    commit, changes = _git(folder, "rev-parse", "HEAD"), _git(folder, "status", "--porcelain", "--untracked-files=no")
    return Checkout() if commit is None else Checkout(commit, dirty=bool(changes))


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, or None where it cannot answer."""
    # Inside a git hook GIT_DIR points at another repository than the folder's.
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    # `status` would otherwise rewrite the index and get in the way of whoever works in the checkout.
    environment["GIT_OPTIONAL_LOCKS"] = "0"
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, env=environment, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
