"""What a sweep's own process tells its jobs, whichever process or node a launcher runs them in."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field

from hydra.core.singleton import Singleton

from ..config.overrides import typed_words
from ..errors import UsageError
from .identity import Here

_THREADS = re.compile(r"[A-Z]+_(NUM|MAXIMUM)_THREADS")
"""Variables that engines set for the sake of their neighbours: joblib and Ray do, and what measures has none."""
_LOOK_S = 1.0


@dataclass(frozen=True)
class Terms:
    """Of one sweep.

    Attributes:
        here: where the sweep runs, by which its jobs are found again when it is repeated from there.
        threads: its variables for numbers of threads.
        typed: see `overrides.typed_words`.
        process: its identifier.
        folder: where it was started, which paths such as `results` start from.
    """

    here: Here
    threads: Mapping[str, str] = field(default_factory=lambda: _threads())
    typed: Mapping[str, str] = field(default_factory=typed_words)
    process: int = field(default_factory=os.getpid)
    folder: str = field(default_factory=os.getcwd)

    def take_over(self) -> None:
        """Makes this process measure as the sweep's own would, and end with it if it is its child.

        Raises:
            UsageError: if the folder that the sweep was started in cannot be seen from here.
        """
        try:
            os.chdir(self.folder)
        except OSError as error:
            wanted = "one that all machines of a sweep see"
            raise UsageError(
                f"the folder to start a sweep in must be {wanted}; got {self.folder!r}: {error.strerror}"
            ) from None
        for name in _threads().keys() - self.threads.keys():
            del os.environ[name]
        os.environ.update(self.threads)
        typed_words(self.typed)
        if os.getppid() == self.process and not _ENDS.is_set():
            _ENDS.set()
            threading.Thread(target=_end_with, args=(self.process,), daemon=True).start()


class Announced(metaclass=Singleton):
    """The terms of the sweep that runs. Every launcher carries Hydra's singletons to its jobs."""

    terms: Terms | None = None


_ENDS = threading.Event()


def _threads() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if _THREADS.fullmatch(name)}


def _end_with(process: int) -> None:
    while os.getppid() == process:
        time.sleep(_LOOK_S)
    # Nobody waits for the job any more. Its worker ends with it, and the store's files appear whole or not at all.
    os._exit(1)
