"""Workers that end when the gate is killed, even in the middle of a kernel that never ends."""

from __future__ import annotations

import os
import threading
import time

_EVERY_S = 0.5


def end_with_parent() -> None:
    """Ends this process soon after the one that started it, which a signal may have kept from ending its workers."""
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()


def _watch(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(_EVERY_S)
    os._exit(1)
