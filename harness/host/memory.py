"""How much memory this process may still take."""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from . import linux
from .hidden import told

try:
    import resource
except ImportError:  # Windows has no such limits.
    resource = None


def free_bytes(root: Path = Path("/")) -> float:
    """The least of what the system has to give, what the control groups above allow, and what is left of the address space.

    Args:
        root: where /proc and /sys stand.
    """
    rooms = [_available(root), address_space_left(root)]
    return float(min(room for room in rooms if room is not None))


def address_space_left(root: Path = Path("/")) -> int | None:
    """Bytes of addresses that `ulimit -v` leaves this process; None where it sets no limit."""
    if resource is None:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    return None if limit == resource.RLIM_INFINITY else max(0, limit - _mapped(root))


def _available(root: Path) -> int:
    if (said := linux.memory_available(root)) is not None:
        return said
    if (memory := told(psutil.virtual_memory)) is not None:
        return memory.available
    # The C library asks the kernel itself, and counts no page that is to be given back.
    return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _mapped(root: Path) -> int:
    """Addresses that are taken, by /proc; none are known of where it is hidden."""
    pages = (linux.text(root, "proc/self/statm") or "0").split()[0]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")
