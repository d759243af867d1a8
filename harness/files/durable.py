"""Files that appear whole or not at all, in a folder that many processes share."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

STALE_S = 24 * 3600
"""A temporary file this old has lost its writer: what is written here takes seconds."""


@dataclass(frozen=True)
class Folder:
    """A place for files that any number of processes add to. See `objects.Prefix` for the other kind.

    Attributes:
        path: the folder, made when first written to.
    """

    path: Path

    def files(self, is_ours: Callable[[str], object]) -> list[Path]:
        """The files whose names are ours, in the order of their names.

        Raises:
            OSError: if there is no such folder.
        """
        return sorted(file for file in self.path.iterdir() if is_ours(file.name))

    def new_file(self, name: str) -> AbstractContextManager[Path]:
        """See `new_file`."""
        return new_file(self.path / name)

    def remove(self, files: Iterable[Path]) -> None:
        """Removes files that `files` listed; one that is gone already is no error."""
        for file in files:
            file.unlink(missing_ok=True)

    def probe(self, size: int) -> None:
        """Writes so many bytes and removes them again.

        Raises:
            OSError: if that cannot be done.
        """
        with temporary_file(self.path) as path:
            path.write_bytes(bytes(size))
            to_disk(path)

    def sole(self, claim: str) -> AbstractContextManager[bool]:
        """See `sole`."""
        return sole(self.path / claim)

    def remove_stale(self) -> None:
        """See `remove_stale`."""
        remove_stale(self.path)


@contextmanager
def temporary_file(folder: Path) -> Iterator[Path]:
    """A path in a folder, made if need be, that is on no reader's list and gone afterwards.

    Raises:
        OSError: if the folder cannot be made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f".{os.getpid()}-{secrets.token_hex(4)}.tmp"
    try:
        yield path
    finally:
        with suppress(OSError):
            path.unlink(missing_ok=True)


@contextmanager
def new_file(final: Path) -> Iterator[Path]:
    """A path to write to, which on leaving without an error is on the disk under its final name.

    Raises:
        OSError: if it cannot be written; nothing is left behind.
    """
    with temporary_file(final.parent) as path:
        yield path
        to_disk(path)
        os.replace(path, final)
        # The name is the folder's data: without this a power cut may take the file away again.
        to_disk(final.parent)


@contextmanager
def sole(claim: Path) -> Iterator[bool]:
    """Whether no other process is between here and the end of the block with the same claim.

    A claim whose holder was killed stands until `remove_stale` takes it away.
    """
    try:
        claim.touch(exist_ok=False)
    except FileExistsError:
        yield False
        return
    try:
        yield True
    finally:
        claim.unlink(missing_ok=True)


def remove_stale(folder: Path) -> None:
    """Removes the temporary files and claims that killed processes left."""
    for path in folder.glob(".*.tmp"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > STALE_S:
                path.unlink()


def to_disk(path: Path) -> None:
    """Waits until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
