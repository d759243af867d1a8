"""One measurement at a time on a device of this host, whoever started it; preparations share it.

Compiling and proving a kernel use the device too, where it is the CPU: so they hold the lock of a device together with one
another, and a measurement holds it alone. The lock is the kernel's (`flock`): a holder that is killed lets go of it.
"""

from __future__ import annotations

import fcntl
import os
import re
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Device:
    """A device that measurements on this host take turns on.

    Attributes:
        name: of the device, the same in every process of the host (`cpu`, `gpu-0`).
        waiting: told True when another holder is in the way, and False when it is gone.
        folder: where the lock files lie, which all users of the host share.
    """

    name: str
    waiting: Callable[[bool], None] = field(default=lambda is_waiting: None, compare=False)
    folder: Path = field(default_factory=lambda: Path(tempfile.gettempdir()))

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Held together with others who prepare, never while somebody measures."""
        with self._held(fcntl.LOCK_SH):
            yield

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Held by nobody else."""
        with self._held(fcntl.LOCK_EX):
            yield

    @contextmanager
    def _held(self, how: int) -> Iterator[None]:
        handle = self._opened()
        try:
            try:
                fcntl.flock(handle, how | fcntl.LOCK_NB)
            except BlockingIOError:
                self.waiting(True)
                fcntl.flock(handle, how)
                self.waiting(False)
            yield
        finally:
            # Which lets go of the lock.
            os.close(handle)

    def _opened(self) -> int:
        path = self.folder / f"roofcast-{re.sub(r'[^0-9A-Za-z-]', '_', self.name)}.lock"
        try:
            # Another user's file in a sticky folder may be locked, but not opened as one that might be made.
            return os.open(path, os.O_RDONLY)
        except FileNotFoundError:
            return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


def device_name(backend: str, number: int = 0) -> str:
    """The name of the device that JAX calls `number` on a backend, by the number that every process knows it by.

    CUDA and ROCm renumber the devices that an environment variable leaves visible.
    """
    return "cpu" if backend == "cpu" else f"{backend}-{device_number(number)}"


def device_number(number: int = 0) -> str:
    """The number, or the UUID, by which every process knows the device that JAX calls `number`."""
    visible = (os.environ.get(name, "") for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"))
    names = next((listed.split(",") for listed in visible if listed), [])
    return names[number].strip() if number < len(names) else str(number)
