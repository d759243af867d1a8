"""JAX's cache of compiled programs on disk, and whether a program came out of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jax

_HIT, _MISS = "/jax/compilation_cache/cache_hits", "/jax/compilation_cache/cache_misses"
_seen: Counter[str] = Counter()
jax.monitoring.register_event_listener(lambda event, **_: _seen.update([event] if event in (_HIT, _MISS) else []))


def keep_programs_in(folder: Path) -> None:
    """Compiles no program that lies in the folder, and keeps every other there.

    Kernels that call machine code of ours are kept too: a program names what it calls, and the name is looked up when it runs.
    """
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # Its defaults leave out what compiles within a second, which is all that is measured here.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)


def lookups() -> tuple[int, int]:
    """How many programs of this process were found in the cache, and how many were not."""
    return _seen[_HIT], _seen[_MISS]


def found_since(before: tuple[int, int]) -> str:
    """`warm` if the programs compiled since were all in the cache, `cold` if one was not, "" where none was looked up."""
    hits, misses = (now - then for now, then in zip(lookups(), before, strict=True))
    return "cold" if misses else "warm" if hits else ""
