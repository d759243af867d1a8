"""On every machine of the zoo the plan fits the memory, and no share is taken of a level that cannot be told."""

import importlib.util
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from roofcast.harness.doctor.examination import examine
from roofcast.harness.host import host as hosts
from roofcast.harness.host import memory
from roofcast.harness.host.host import fingerprint
from roofcast.harness.measure import ceilings, prove
from roofcast.harness.measure.budget import ALONE_SHARE, MOST_BYTES, SHARE, Budget
from roofcast.harness.measure.cache_levels import MEMORY, Levels, levels
from roofcast.harness.measure.caches import KEPT_MULTIPLE, Caches, Emptier
from roofcast.harness.measure.ceilings import Limits
from roofcast.harness.measure.judge import level_of
from roofcast.harness.measure.prepare import Kernel, needed_bytes
from roofcast.harness.measure.probes import Probe
from roofcast.harness.measure.result import Machine, Result
from roofcast.harness.measure.statistics import Calm
from roofcast.harness.store.figures import Ceilings
from roofcast.kernels import room
from roofcast.kernels.attention import Attention
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.norm import Norm
from roofcast.kernels.registry import implementations


def _zoo() -> Any:
    # Tests are imported by path, so what they share is too.
    spec = importlib.util.spec_from_file_location("zoo", Path(__file__).parents[2] / "zoo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["zoo"] = module
    spec.loader.exec_module(module)
    return module


zoo = _zoo()
EVERY = pytest.mark.parametrize("name", zoo.ZOO)
SEEN = {
    "a socket's cache told": 16,
    "1.1 GB told, 16 MB there": 16,
    "one core": 32,
    "64 cores, a quota of 1.5": 32,
}
"""MiB at which the last cache ends."""
CALLS = [
    Norm(kind="rmsnorm", d=4096, residual=True, weight_format="bf16"),
    Attention(heads=32, kv_heads=8, head_dim=128, value_dim=128, context=2048, scale_dim=128, kv_format="bf16"),
    Gemv(n=4096, k=4096, weight_format="bf16"),
    Gemv(n=14336, k=4096, weight_format="int4"),
    Gemv(n=128256, k=4096, weight_format="bf16"),
]


def free(animal: Any, tmp_path: Path) -> float:
    return memory.free_bytes(animal.tree(tmp_path))


def planned(animal: Any, tmp_path: Path) -> tuple[Budget, Levels, int, Caches]:
    """What a measurement would do on a machine."""
    budget = Budget.of(free(animal, tmp_path))
    told = animal.told_bytes
    last_told = max(told.values(), default=0)
    largest = budget.largest_working_set(last_told)
    found = levels(animal.mountain(budget), told)
    read_bytes = ceilings._read_bytes(found, largest)
    shown = Ceilings(
        read_gbs=animal.memory_gbs, copy_gbs=1, triad_gbs=1, multiply_add_gflops=100, dispatch_us=5, turnover_bytes=read_bytes
    )
    caches = ceilings._caches("cpu", found, shown, Emptier(lambda: 1.0, read_bytes), last_told)
    return budget, found, read_bytes, caches.within(budget.room_for_copies(read_bytes))


@EVERY
def test_a_plan_fits_the_memory(name: str, tmp_path: Path) -> None:
    animal = zoo.ZOO[name]
    budget, _, read_bytes, caches = planned(animal, tmp_path)
    assert budget.total_bytes <= min(MOST_BYTES, SHARE * animal.free_gb * 1e9)
    largest = budget.largest_working_set(max(animal.told_bytes.values(), default=0))
    assert read_bytes <= largest <= budget.total_bytes / 2
    for batch in budget.batches(CALLS, lambda call: needed_bytes(call, caches), read_bytes):
        held = read_bytes + sum(needed_bytes(call, caches) for call in batch)
        alone = len(batch) == 1 and budget.refusal(needed_bytes(batch[0], caches), read_bytes) is None
        assert held <= budget.total_bytes or (alone and held <= ALONE_SHARE * budget.free_bytes) or len(batch) == 1
    for call in CALLS:
        streamed = sum(t.nbytes for t in call.operands().values() if t.role in ("weight", "kv"))
        # Copies never take more than their share, or than one copy does.
        assert needed_bytes(call, caches) <= max(budget.total_bytes / 4, 1.1 * streamed) + 1e6 + 2**22


@EVERY
def test_the_last_cache_ends_where_it_ends_and_not_where_it_is_told_to(name: str, tmp_path: Path) -> None:
    _, found, read_bytes, caches = planned(zoo.ZOO[name], tmp_path)
    if name in SEEN:
        end = found.caches[-1].end_bytes / 2**20
        assert SEEN[name] / 2 <= end <= 2.5 * SEEN[name]
        assert not found.doubt
        assert found.of(end * 2**20) == found.caches[-1].name
        assert read_bytes >= KEPT_MULTIPLE * end or read_bytes > 2**27
    if "384" in name:
        # Of a gigabyte such a cache keeps much, so that no working set was the memory's own.
        assert "L3" in found.doubt
    if "beyond all" in name:
        assert "of which L3 with 4096 MiB may have held a part" in found.doubt
        assert found.of(2**40) is None
    ends = [one.end_bytes for one in found.caches]
    rates = [one.read_gbs for one in found.caches]
    assert ends == sorted(ends)
    assert rates == sorted(rates, reverse=True)
    assert caches.turnover_bytes >= read_bytes


@EVERY
@pytest.mark.parametrize("residency", ["cold", "warm"])
def test_a_share_is_taken_of_a_level_that_can_be_told(name: str, residency: Any, tmp_path: Path) -> None:
    _, found, _, caches = planned(zoo.ZOO[name], tmp_path)
    shown = Ceilings(read_gbs=20, copy_gbs=15, triad_gbs=16, multiply_add_gflops=100, dispatch_us=5)
    limits = Limits(shown, found, caches, Probe("read", lambda: 20.0), Probe("multiply_add", lambda: 100.0))
    one = implementations("gemv")[0]
    for size in (2**13, 2**17, 2**22, 2**25, 2**27, 2**31):
        call = Gemv(n=size // 8192, k=4096, weight_format="bf16")
        kernel = Kernel(call, one, None, "direct calls", residency, size, 1, lambda: 1.0)
        level = level_of(Result(call, one.name, "ok", kernel=kernel), limits)
        if residency == "cold":
            assert level == (None if found.doubt else MEMORY)
        elif level not in (None, MEMORY):
            assert size <= next(cache.end_bytes for cache in found.caches if cache.name == level)
        elif level is None:
            # Between the last cache and the memory, or beyond what was read.
            assert size < found.memory_from_bytes or found.doubt


@EVERY
def test_what_does_not_fit_is_refused_before_it_is_made(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    budget, found, read_bytes, caches = planned(zoo.ZOO[name], tmp_path)
    shown = Ceilings(read_gbs=20, copy_gbs=15, triad_gbs=16, multiply_add_gflops=100, dispatch_us=5)
    silent = Probe("none", lambda: 1.0)
    machine = Machine("cpu", budget, Limits(shown, found, caches, silent, silent, None, read_bytes))
    huge = Gemv(n=math.ceil(budget.free_bytes / 8192), k=4096, weight_format="bf16")

    def never(*_: Any, **__: Any) -> Any:
        raise AssertionError("something was made")

    monkeypatch.setattr(room, "empty", never)
    monkeypatch.setattr(np, "empty", never)
    result = prove.ready(huge, implementations("gemv")[0], machine, "cold", never)
    assert result.status == "refused"
    assert result.reason.startswith("it needs ")
    assert "GB that are free" in result.reason


@EVERY
def test_every_machine_is_described_and_examined(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    animal = zoo.ZOO[name]
    root = animal.tree(tmp_path)
    monkeypatch.setattr(hosts, "_affinity", lambda: tuple(range(animal.cores)))
    monkeypatch.setattr(hosts, "_output", lambda *command: "")
    monkeypatch.setattr(hosts, "_brand", lambda: "unknown")
    host = fingerprint(root=root)
    assert host.cache_bytes == animal.told_bytes
    assert host.affinity_count == animal.cores
    if "quota" in name:
        assert host.usable_cores == 1.5
    assert all(one.what for one in examine(tmp_path, watch_s=0.0, root=root))


@pytest.mark.parametrize(
    ("name", "free_gb"), [("control groups, version 1", 5.0), ("control groups, version 2", 2.5), ("2 GB free", 2.0)]
)
def test_free_memory_is_what_the_tightest_allows(name: str, free_gb: float, tmp_path: Path) -> None:
    assert free(zoo.ZOO[name], tmp_path) == pytest.approx(free_gb * 1e9, rel=0.01)


def test_an_address_space_is_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    animal = zoo.ZOO["one core"]
    root = animal.tree(tmp_path)
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/statm").write_text("500000 1 1 1 0 1 0")
    limits: Any = memory.resource
    monkeypatch.setattr(limits, "getrlimit", lambda what: (10**10, 10**10))
    assert memory.free_bytes(root) == 10**10 - 500000 * 4096
    monkeypatch.setattr(limits, "getrlimit", lambda what: (limits.RLIM_INFINITY,) * 2)
    assert memory.address_space_left(root) is None


def test_a_machine_that_hides_its_memory_is_asked_by_the_c_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> Any:
        raise FileNotFoundError("/proc/meminfo")

    monkeypatch.setattr(memory.psutil, "virtual_memory", hidden)
    assert memory.free_bytes(tmp_path) > 0


def test_a_steal_of_a_third_scatters_the_probes_and_is_no_second_speed() -> None:
    rng = np.random.default_rng(0)
    stolen = 20.0 * np.where(rng.random(200) < 0.3, rng.uniform(0.2, 0.9, 200), rng.normal(1, 0.03, 200))
    calm = Calm.of(stolen, has_speeds=True)
    assert calm.slower is None
    assert calm.level == pytest.approx(20, rel=0.05)
    assert 0.6 < (calm.band(stolen, 0.15) == 0).mean() < 0.85
