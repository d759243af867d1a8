"""Between two uses of the same bytes lies what empties a cache, and no more is held for it than was counted."""

import math
import os
from typing import Any

import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.measure.caches import Caches, Emptier
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.prepare import STACKED_BYTES, Kernel, needed_bytes, prepare, prepare_peer
from roofcast.kernels import check, room
from roofcast.kernels.activation import Activation
from roofcast.kernels.cache import CacheUpdate
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.op import Implementation, Workload

MANY = settings(max_examples=int(os.environ.get("ROOFCAST_EXAMPLES", "50")))
SLOW_GBS = 1.0
"""A memory of which a sample reads little."""


def streamed_bytes(workload: Workload) -> float:
    return sum(one.nbytes for one in workload.operands().values() if one.role in ("weight", "kv"))


def emptied(nbytes: float = 2.0**24) -> Caches:
    return Caches.emptied(2.0**20, SLOW_GBS, Emptier(lambda: SLOW_GBS, nbytes))


@MANY
@given(st.integers(1, 2**15), st.integers(1, 2**9), st.sampled_from(["f32", "bf16", "int8", "int4"]), st.floats(0, 2**33))
def test_copies_are_as_many_as_a_rotation_takes_and_no_more(n: int, k: int, stored: str, last_level: float) -> None:
    workload, caches = Gemv(n=n, k=32 * k, weight_format=stored), Caches.rotated(last_level)
    streamed = streamed_bytes(workload)
    copies = caches.copies(workload, streamed)
    # Sizes are whole bytes: a part of one is no reason for a copy.
    assert copies * streamed > caches.rotation_bytes - copies - 1
    assert copies == 1 or (copies - 1) * math.floor(streamed) < caches.rotation_bytes
    assert needed_bytes(workload, caches) >= streamed
    assert needed_bytes(workload, caches) <= caches.rotation_bytes + 4 * streamed + 4 * (n + 32 * k)
    assert (
        needed_bytes(workload, caches, "warm") <= needed_bytes(workload, caches) <= needed_bytes(workload, caches, is_peer=True)
    )


def test_what_hands_its_buffers_on_or_streams_nothing_has_one_copy() -> None:
    caches = Caches.rotated(2.0**30)
    cache = CacheUpdate(kv_heads=8, context=128, head_dim=64, value_dim=64, kv_format="bf16")
    assert caches.copies(cache, streamed_bytes(cache)) == 1
    activation = Activation(function="silu", d=4096, gated=True)
    assert caches.copies(activation, streamed_bytes(activation)) == 1


@MANY
@given(st.floats(0.01, 1e4), st.integers(2**14, 2**31))
def test_what_empties_the_caches_counts_between_two_uses(read_gbs: float, nbytes: int) -> None:
    caches = Caches.emptied(2.0**20, read_gbs, Emptier(lambda: read_gbs, nbytes))
    assert caches.turnover_bytes == caches.rotation_bytes + nbytes
    # A sample of a rotation takes some milliseconds, whatever the memory's speed.
    assert caches.rotation_bytes == 2**22 or 5e-4 < caches.rotation_bytes / read_gbs / 1e9 < 8e-3


def test_caches_are_emptied_where_something_was_timed_since() -> None:
    read: list[str] = []
    emptier = Emptier(lambda: float(len(read.append("read") or read)), 2**20)
    emptier.empty()
    emptier.empty()
    # Each sample fills them again.
    assert len(read) == 2
    assert emptier.rate() == 3.0
    emptier.empty()
    # The probe beside the sample had emptied them.
    assert len(read) == 3
    emptier.empty()
    assert len(read) == 4
    for _ in range(3):
        emptier.rate()
    # A probe is sampled each time that it is asked.
    assert len(read) == 7
    assert Caches.emptied(2.0**20, SLOW_GBS, emptier).empty == emptier.empty


@pytest.mark.parametrize(
    ("way", "k", "caches"),
    [
        ("direct", 2**14, Caches.rotated(2.0**24)),
        ("direct", 2**14, emptied()),
        ("looped", 2**14, emptied()),
        ("looped", 2**12, Caches.rotated(2.0**22)),
        ("peer", 2**14, Caches.rotated(2.0**24)),
        ("peer", 2**14, emptied()),
    ],
    ids=["direct rotated", "direct", "looped", "looped and stacked", "peer rotated", "peer"],
)
def test_what_a_kernel_holds_is_what_was_counted(way: str, k: int, caches: Caches, monkeypatch: pytest.MonkeyPatch) -> None:
    workload = Gemv(n=8, k=k, weight_format="f32")
    packed = check.draw(workload, seed=0)
    held = [sum(one.nbytes for one in packed.values())]

    def made(shape: tuple[int, ...], dtype: Any, count: int = 1) -> Any:
        arrays = empty(shape, dtype, count)
        held.append(sum(one.nbytes for one in arrays))
        return arrays

    empty = room.empty
    monkeypatch.setattr(room, "empty", made)

    def right(workload: Workload, weight: Any, x: Any) -> Any:
        return weight @ x

    def other(workload: Workload, weight: Any, x: Any) -> Any:
        held.append(weight.nbytes)
        return lambda: weight @ x

    kernel = prepared(way, workload, right, other, packed, caches)
    # What is small against a copy may be there twice.
    assert sum(held) <= needed_bytes(workload, caches, is_peer=way == "peer") + STACKED_BYTES
    assert kernel.residency == "cold"
    assert kernel.pool_bytes >= 2 * caches.last_level_bytes


def code(function: Any, name: str) -> Implementation:
    return Implementation(name, "gemv", function, ("cpu",), 0, lambda workload: None)


def prepared(way: str, workload: Workload, right: Any, other: Any, packed: Any, caches: Caches) -> Kernel:
    if way == "peer":
        one = code(other, "peers.other")
        return prepare_peer(workload, one, other(workload, **packed), packed, residency="cold", caches=caches)
    one = code(right, "test.right")
    compiled = compile_call(workload, one, packed)
    operands = {name: jnp.asarray(value) for name, value in packed.items()}
    dispatch_s = 0.0 if way == "direct" else 1.0
    calls = None if way == "direct" else 1
    return prepare(
        workload, one, compiled, operands, residency="cold", caches=caches, dispatch_s=dispatch_s, calls=calls
    )  # fmt: skip
