"""Files as objects under a prefix of an object store (`s3://bucket/prefix`), through fsspec.

Object stores neither append nor rename, and need not: an object appears whole or not at all, and none of ours ever
changes. So what was fetched once is kept in a folder of the user's cache, and readers read there.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..errors import UsageError
from . import durable

_ATTEMPTS = 3
"""Times that a listing is taken anew because what it names was removed before it could be fetched."""


@dataclass(frozen=True)
class Prefix:
    """A place for objects that any number of machines add to. What it offers is what `durable.Folder` offers.

    Attributes:
        url: such as `s3://bucket/prefix`. Who may use it is said as the storage's own tools take it, for S3 by
            `AWS_ACCESS_KEY_ID`, `AWS_PROFILE`, `AWS_ENDPOINT_URL` and the like.
    """

    url: str

    @cached_property
    def path(self) -> Path:
        """The folder where objects are kept that were fetched."""
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        # The same bucket of another server is another one.
        where = f"{os.environ.get('AWS_ENDPOINT_URL', '')} {self.url}"
        return Path(home) / "roofcast" / f"objects-{hashlib.sha256(where.encode()).hexdigest()[:12]}"

    @cached_property
    def _opened(self) -> tuple[Any, str]:
        """The file system, and the prefix as it knows it.

        Raises:
            UsageError: if what speaks to this kind of storage is not installed.
        """
        import fsspec

        try:
            system, root = fsspec.url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            kind = self.url.partition("://")[0]
            advice = "install the extra s3: pip install 'roofcast[s3]'" if kind == "s3" else str(error)
            raise UsageError(
                f"results must be a folder or the URL of a storage that can be reached; got {self.url!r}: {advice}"
            ) from None
        return system, root.rstrip("/")

    def files(self, is_ours: Callable[[str], object]) -> list[Path]:
        """Copies of the objects whose names are ours, in the order of their names. A prefix without any is no error.

        Raises:
            OSError: if the storage cannot be asked.
        """
        sizes: dict[str, int] = {}
        for attempt in range(1, _ATTEMPTS + 1):
            sizes = {name: size for name, size in self._sizes().items() if is_ours(name)}
            try:
                self._fetch([name for name, size in sizes.items() if not _is_there(self.path / name, size)])
            except FileNotFoundError:
                if attempt == _ATTEMPTS:
                    raise
            else:
                break
        with suppress(OSError):
            self._forget(lambda name: bool(is_ours(name)) and name not in sizes)
        return [self.path / name for name in sorted(sizes)]

    @contextmanager
    def new_file(self, name: str) -> Iterator[Path]:
        """A path to write to, which on leaving without an error is stored under a name.

        Raises:
            OSError: if it cannot be stored.
        """
        system, root = self._opened
        # What was just written need not be fetched.
        with durable.new_file(self.path / name) as path:
            yield path
            with _in_the_systems_words():
                system.put_file(str(path), f"{root}/{name}")

    def remove(self, files: Iterable[Path]) -> None:
        """Removes the objects whose copies `files` gave; one that is gone already is no error.

        Raises:
            OSError: if the storage does not allow it.
        """
        system, root = self._opened
        for file in files:
            with _in_the_systems_words(), suppress(FileNotFoundError):
                system.rm_file(f"{root}/{file.name}")
            file.unlink(missing_ok=True)

    def probe(self, size: int) -> None:
        """Writes an object of so many bytes and removes it again.

        Raises:
            OSError: if that cannot be done.
        """
        system, root = self._opened
        path = f"{root}/.{secrets.token_hex(8)}.tmp"
        with _in_the_systems_words():
            system.pipe_file(path, bytes(size))
            system.rm_file(path)

    @contextmanager
    def sole(self, claim: str) -> Iterator[bool]:
        """Whether no other process is between here and the end of the block with the same claim.

        Storage that cannot refuse to write an object twice may let two in.
        """
        system, root = self._opened
        path = f"{root}/{claim}"
        try:
            with _in_the_systems_words():
                system.pipe_file(path, b"claimed", mode="create")
        except FileExistsError:
            yield False
            return
        try:
            yield True
        finally:
            with suppress(OSError), _in_the_systems_words():
                system.rm_file(path)

    def remove_stale(self) -> None:
        """Removes the claims that killed processes left."""
        durable.remove_stale(self.path)
        system, root = self._opened
        for name in self._sizes():
            if name.startswith(".") and name.endswith(".tmp"):
                with suppress(OSError), _in_the_systems_words():
                    if time.time() - system.modified(f"{root}/{name}").timestamp() > durable.STALE_S:
                        system.rm_file(f"{root}/{name}")

    def _sizes(self) -> dict[str, int]:
        """Bytes of every object under the prefix, by name."""
        system, root = self._opened
        with _in_the_systems_words():
            # Others write too: what was listed before says nothing.
            system.invalidate_cache()
            try:
                listed = system.ls(root, detail=True)
            except FileNotFoundError:
                return {}
        return {one["name"].rpartition("/")[2]: one["size"] for one in listed if one["type"] == "file"}

    def _fetch(self, names: list[str]) -> None:
        if not names:
            return
        system, root = self._opened
        self.path.mkdir(parents=True, exist_ok=True)
        parts = [self.path / f".{os.getpid()}-{secrets.token_hex(4)}.tmp" for _ in names]
        try:
            with _in_the_systems_words():
                system.get([f"{root}/{name}" for name in names], [str(part) for part in parts])
            for name, part in zip(names, parts, strict=True):
                os.replace(part, self.path / name)
        finally:
            for part in parts:
                part.unlink(missing_ok=True)

    def _forget(self, is_gone: Callable[[str], bool]) -> None:
        for file in self.path.iterdir():
            if is_gone(file.name):
                file.unlink(missing_ok=True)


def _is_there(copy: Path, size: int) -> bool:
    try:
        return copy.stat().st_size == size
    except OSError:
        return False


@contextmanager
def _in_the_systems_words() -> Iterator[None]:
    """Makes whatever a storage's client raises an OSError that says why."""
    try:
        yield
    except OSError:
        raise
    except Exception as error:
        # Every client has exceptions of its own, and which are installed is not known here.
        raise OSError(0, " ".join(str(error).split()) or type(error).__name__) from error
