"""Sizes that kernels cut their work by: a kernel's own, or what whoever tunes it asks for."""

from __future__ import annotations

from collections.abc import Mapping

_ASKED: dict[str, int] = {}


def block_size(name: str, usual: int) -> int:
    """The size that goes by a name (`gemv_tile_bytes`), where nobody asked for another the usual one."""
    return _ASKED.get(name, usual)


def choose(sizes: Mapping[str, int]) -> bool:
    """Sets the sizes of what is compiled from now on, and says whether they are others than before."""
    is_new = sizes != _ASKED
    _ASKED.clear()
    _ASKED.update(sizes)
    return is_new
