"""Where compiled programs are kept from run to run."""

from __future__ import annotations

import os
from pathlib import Path


def programs_folder(machine_key: str) -> Path | None:
    """A folder of the user's cache for one machine's programs, made if need be; None where there can be none.

    A home that machines share must not hand one machine's code to another.
    """
    try:
        home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
        folder = Path(home) / "roofcast" / f"programs-{machine_key}"
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):
        return None
    return folder if os.access(folder, os.W_OK) else None
