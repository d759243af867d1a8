"""Machines that hide what they are, tell nonsense, or forbid to look: each has a fingerprint and is examined all the same."""

import io
import os
import platform
from pathlib import Path

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from roofcast.harness.doctor import software
from roofcast.harness.doctor.examination import examine
from roofcast.harness.host import host as hosts
from roofcast.harness.host import memory
from roofcast.harness.host.host import fingerprint

CPU = "sys/devices/system/cpu"
FILES = (
    *("proc/cpuinfo", "proc/meminfo", "proc/self/cgroup", "proc/self/statm", "proc/stat"),
    *(f"sys/fs/cgroup/{name}" for name in ("cpu.max", "memory.max", "memory.current", "memory.stat")),
    *(f"sys/fs/cgroup/cpu/cpu.cfs_{name}_us" for name in ("quota", "period")),
    *(f"sys/fs/cgroup/memory/memory.{name}_in_bytes" for name in ("limit", "usage")),
    *(f"{CPU}/{name}" for name in ("online", "cpufreq/boost", "intel_pstate/no_turbo")),
    *(f"{CPU}/cpu0/cache/index0/{name}" for name in ("level", "type", "size", "shared_cpu_list")),
    *(f"{CPU}/cpu0/topology/{name}" for name in ("physical_package_id", "core_id")),
    f"{CPU}/cpufreq/policy0/scaling_governor",
    "sys/kernel/mm/transparent_hugepage/enabled",
)
"""All that is read of a machine."""
SAID = (
    "",
    "0",
    "-1",
    "max",
    "0 0",
    "0-",
    "-",
    "1,,x",
    "0::/",
    "0::/../..",
    "::",
    "3:cpu,memory:/a",
    "9" * 40,
    "L2",
    "a: b\n\nc",
    "\0",
)
"""What a file may hold that the kernel would not write there."""


@pytest.fixture
def other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The root of a machine of which nothing is to be seen, for the harness and for psutil."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(psutil, "PROCFS_PATH", str(tmp_path / "root/proc"))
    monkeypatch.setattr(hosts, "_output", lambda *command: "")
    monkeypatch.setattr(hosts, "_brand", lambda: "unknown")
    return tmp_path / "root"


def examined(root: Path) -> dict[str, str]:
    """What is found there, by check."""
    return {one.name: one.what for one in examine(root.parent, watch_s=0.0, root=root)}


def hold(root: Path) -> None:
    host = fingerprint(root=root)
    assert host.memory_bytes > 0
    assert host.usable_cores > 0
    assert memory.free_bytes(root) >= 0
    assert all(examined(root).values())


def test_a_machine_without_proc_and_sys_says_what_cannot_be_seen(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def hidden() -> None:
        raise OSError("Load averages are unobtainable")

    # The C library reads them from /proc too.
    monkeypatch.setattr(os, "getloadavg", hidden)
    hold(other)
    host, found = fingerprint(root=other), examined(other)
    assert (host.cache_bytes, host.cpu_quota, host.load_average_1m, host.governor) == ({}, None, None, "")
    assert {name for name, what in found.items() if "cannot be seen what" in what} == {"other work", "stolen time", "swap"}
    assert memory.free_bytes(other) <= 1.01 * host.memory_bytes


def test_a_machine_that_forbids_to_look_is_as_one_that_hides(other: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for path in FILES:
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).write_text("1")

    def forbid(module: object, name: str) -> None:
        ask = getattr(module, name)

        def asked(path: object = ".", *arguments: object, **named: object) -> object:
            if not isinstance(path, int) and os.fspath(path).startswith(str(other)):
                raise PermissionError(13, "Permission denied", str(path))
            return ask(path, *arguments, **named)

        monkeypatch.setattr(module, name, asked)

    for name in ("stat", "scandir", "listdir"):
        forbid(os, name)
    forbid(io, "open")
    with pytest.raises(PermissionError):
        (other / FILES[0]).read_text()
    hold(other)


@settings(
    suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=int(os.environ.get("ROOFCAST_EXAMPLES", "40"))
)
@given(st.dictionaries(st.sampled_from(FILES), st.sampled_from(SAID), min_size=1))
def test_a_machine_that_tells_nonsense_is_described_and_examined(other: Path, said: dict[str, str]) -> None:
    for path in FILES:
        (other / path).parent.mkdir(parents=True, exist_ok=True)
        (other / path).unlink(missing_ok=True)
    for path, text in said.items():
        (other / path).write_text(text)
    hold(other)


def test_a_processor_that_xla_cannot_ask_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import jax

    def fails(*_: object) -> None:
        raise RuntimeError("INTERNAL: YNNPACK operation failed")

    found = {one.name: one for one in software.jax_runtime(tmp_path)}
    assert found["arithmetic"].level == "ok"
    monkeypatch.setattr(jax.numpy, "ones", fails)
    found = {one.name: one for one in software.jax_runtime(tmp_path)}
    assert found["arithmetic"].level == "error"
    assert "YNNPACK" in found["arithmetic"].what
