"""Files that appear whole or not at all, in a folder that many processes share."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_STALE_S = 24 * 3600
"""A temporary file this old has lost its writer: what is written here takes seconds."""


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
            if time.time() - path.stat().st_mtime > _STALE_S:
                path.unlink()


def to_disk(path: Path) -> None:
    """Waits until a file's or folder's content is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
