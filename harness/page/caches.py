"""What the store keeps of each machine's caches, as rows of the page: rates of working sets, and where levels end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..measure.cache_levels import Mountain, levels
from ..store.store import Store
from ..words import binary
from .kept import Row, envelope, plain

_QUERY = """
SELECT DISTINCT ON (host_key) record_id, started_at, host_key, cpu_model, backend, device_kind, git_commit, overrides,
    cache_bytes, working_set_bytes, working_set_gbs, working_set_low_gbs, working_set_high_gbs
FROM records WHERE len(working_set_bytes) > 0 ORDER BY host_key, started_at DESC, record_id
"""


def caches(store: Store) -> tuple[list[Row], list[Row]]:
    """Working sets and ends of levels of the newest ceilings of every host; none where no caches were measured."""
    machines = store.query(_QUERY).found if store.is_there else []
    return [row for one in machines for row in _sizes(one)], [row for one in machines for row in _ends(one)]


def _sizes(one: Mapping[str, Any]) -> list[Row]:
    mountain = _mountain(one)
    found = levels(mountain, dict(one["cache_bytes"] or {}))
    return [
        {
            **_given(one),
            "size": binary(size),
            "size_bytes": plain(size),
            "low_gbs": plain(low),
            "gbs": plain(gbs),
            "high_gbs": plain(high),
            "level": found.of(size) or "between two",
        }
        for size, gbs, low, high in zip(mountain.sizes, mountain.gbs, mountain.low_gbs, mountain.high_gbs, strict=True)
    ]


def _ends(one: Mapping[str, Any]) -> list[Row]:
    """Lines at a size: where each level ends by its rates, and by what the machine tells."""
    mountain, told = _mountain(one), dict(one["cache_bytes"] or {})
    ends = [("measured", cache.name, cache.end_bytes) for cache in levels(mountain, told).caches]
    ends += [("told by the machine", name, size) for name, size in told.items()]
    top = max(mountain.high_gbs)
    return [
        {**_given(one), "end": how, "level": name, "size": binary(size), "size_bytes": plain(size), "top_gbs": plain(top)}
        for how, name, size in ends
    ]


def _mountain(one: Mapping[str, Any]) -> Mountain:
    def column(name: str) -> tuple[float, ...]:
        found: Sequence[float] = one[f"working_set_{name}"]
        return tuple(found)

    return Mountain(column("bytes"), column("gbs"), column("low_gbs"), column("high_gbs"))


def _given(one: Mapping[str, Any]) -> Row:
    return {
        "from": f"record:{one['record_id']}",
        "date": one["started_at"],
        "envelope": envelope(one),
        "commit": one["git_commit"],
        "overrides": one["overrides"],
    }
