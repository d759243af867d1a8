"""Levels are where rates show them, whatever a machine tells of its caches."""

import math
import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.measure.cache_levels import MEMORY, Levels, Mountain, levels
from roofcast.harness.measure.mountain import working_sets

KIB, MIB, GIB = 2**10, 2**20, 2**30
Caches = Sequence[tuple[float, float]]
"""Where each ends, bytes, and how fast it is read, GB/s; innermost first."""


def mountain(caches: Caches, memory_gbs: float, largest: float = GIB, noise: float = 0.0, slope: float = 2.0) -> Mountain:
    """Rates that fall beyond each cache, until a working set has twice its size.

    Args:
        noise: standard deviation of a rate, relative to it.
        slope: the same of the last cache, instead of twice.
    """
    sizes = np.array(working_sets(largest), float)
    rates = np.full(len(sizes), memory_gbs)
    for number, (end, gbs) in enumerate(reversed(caches)):
        beyond = np.clip(np.log2(sizes / end) / (1 if number else math.log2(slope)), 0, 1)
        rates = np.exp((1 - beyond) * math.log(gbs) + beyond * np.log(rates))
    rates = rates * np.random.default_rng(0).normal(1, noise, len(sizes)).clip(0.5, 2)
    return Mountain(tuple(sizes), tuple(rates), tuple(rates), tuple(rates))


def told(*sizes: float) -> dict[str, float]:
    return {f"L{number}": size for number, size in enumerate(sizes, 1)}


def seen(found: Levels) -> dict[str, tuple[float, int]]:
    return {one.name: (one.end_bytes, round(one.read_gbs)) for one in found.caches}


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_cache_that_is_told_rightly_ends_where_rates_fall(noise: float) -> None:
    # An AMD core complex in a virtual machine: what is told as 32 MiB is shared, and read slower and slower from 12 MiB on.
    shown = mountain([(64 * KIB, 300), (MIB, 220), (12 * MIB, 160)], 33, noise=noise, slope=10)
    found = levels(shown, told(64 * KIB, MIB, 32 * MIB))
    assert found.caches[-1].name == "L3"
    assert found.caches[-1].read_gbs == pytest.approx(160, rel=0.15)
    assert 8 * MIB <= found.caches[-1].end_bytes <= 64 * MIB
    assert (found.of(4 * MIB), found.of(GIB), found.doubt) == ("L3", MEMORY, "")
    # In between nobody can tell what was read from where.
    assert found.of(80 * MIB) is None


@pytest.mark.parametrize("noise", [0.0, 0.03])
def test_a_cache_that_is_told_too_large_ends_where_it_does(noise: float) -> None:
    shown = mountain([(96 * KIB, 300), (4 * MIB, 100), (32 * MIB, 25)], 14.5, 2 * GIB, noise)
    found = levels(shown, told(96 * KIB, 4 * MIB, 260 * MIB))
    assert found.caches[-1].name == "L3"
    assert 23 * MIB <= found.caches[-1].end_bytes <= 46 * MIB
    assert found.caches[-1].read_gbs == pytest.approx(25, rel=0.1)
    assert found.memory_gbs == pytest.approx(14.5, rel=0.1)
    assert (found.of(16 * MIB), found.of(128 * MIB), found.doubt) == ("L3", MEMORY, "")


def test_where_nothing_is_told_one_cache_is_looked_for() -> None:
    found = levels(mountain([(8 * MIB, 100)], 20), {})
    [cache] = found.caches
    assert (cache.name, round(cache.read_gbs)) == ("cache", 100)
    assert 8 * MIB <= cache.end_bytes <= 12 * MIB
    assert found.of(8 * MIB) == "cache"
    assert found.of(GIB) == MEMORY


def test_a_machine_without_any_cache_has_its_memory_alone() -> None:
    for sizes in ({}, told(32 * KIB, MIB)):
        found = levels(mountain([], 20), sizes)
        assert (found.caches, found.memory_gbs, found.of(1), found.doubt) == ((), 20.0, MEMORY, "")
        assert len(found.unseen) == max(1, len(sizes))


def test_a_cache_that_holds_all_that_was_read_leaves_a_doubt() -> None:
    # 1.1 GB that are told, and are there.
    found = levels(mountain([(64 * KIB, 300), (2 * MIB, 200)], 60, GIB), told(64 * KIB, 2 * MIB, 1126 * MIB))
    assert "L3" in found.doubt
    assert found.of(GIB) is None
    # Another's share of it changes nothing: what was read in a known cache was read there.
    assert found.of(MIB) == "L2"


def test_a_level_that_is_no_faster_than_the_next_is_none() -> None:
    found = levels(mountain([(64 * KIB, 300), (2 * MIB, 200), (16 * MIB, 21)], 20), told(64 * KIB, 2 * MIB, 16 * MIB))
    assert [one.name for one in found.caches] == ["L1", "L2"]
    assert found.unseen == ("L3, told to have 16 MiB",)


def test_one_lucky_working_set_is_no_level() -> None:
    even = mountain([], 20)
    rates = [100.0 if number == 12 else rate for number, rate in enumerate(even.gbs)]
    assert levels(Mountain(even.sizes, tuple(rates), even.low_gbs, even.high_gbs), told(32 * KIB, MIB)).caches == ()


def test_caches_of_many_cores_may_hold_more_than_the_one_that_they_share() -> None:
    # 64 cores with a megabyte each, before 32 MiB for all of them.
    found = levels(mountain([(4 * MIB, 900), (64 * MIB, 400)], 150), told(4 * MIB, 64 * MIB, 32 * MIB))
    assert found.of(48 * MIB) == "L2"
    assert found.of(GIB) == MEMORY


FACTORS = st.floats(1.2, 8)


@settings(max_examples=int(os.environ.get("ROOFCAST_EXAMPLES", "60")))
@given(
    ends=st.lists(st.floats(2**14, 2**29), max_size=3),
    factors=st.lists(FACTORS, min_size=3, max_size=3),
    said=st.lists(st.integers(2**14, 2**31), max_size=4),
    largest=st.integers(2**15, 2**30),
    noise=st.sampled_from((0.0, 0.03, 0.1)),
)
def test_levels_are_in_order_whatever_is_read_and_told(
    ends: list[float], factors: list[float], said: list[int], largest: int, noise: float
) -> None:
    rates = 20 * np.cumprod(factors[: len(ends)])
    shown = mountain(list(zip(sorted(ends), rates[::-1].tolist(), strict=True)), 20, largest, noise)
    found = levels(shown, told(*sorted(said)))
    insides = [one.end_bytes for one in found.caches]
    assert insides == sorted(set(insides))
    speeds = [one.read_gbs for one in found.caches] + [found.memory_gbs]
    assert speeds == sorted(set(speeds), reverse=True)
    assert set(insides) <= set(shown.sizes)
    # Larger working sets are never nearer.
    order = [*(one.name for one in found.caches), None, MEMORY]
    places = [order.index(found.of(size)) for size in (0.0, *shown.sizes, 2.0**40)]
    assert places == sorted(places)
    for one in found.caches:
        assert found.of(one.end_bytes) == one.name
        assert found.rate_gbs(one.name) == one.read_gbs
    assert found.rate_gbs(MEMORY) == found.memory_gbs
    assert found.of(2.0**40) == (None if found.doubt else MEMORY)
    # Every cache that is told was seen or is named.
    assert len(found.caches) + len(found.unseen) == max(1, len(said))
