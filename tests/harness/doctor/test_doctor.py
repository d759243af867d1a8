import dataclasses
import os
import platform
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest
from roofcast.harness.doctor import activity
from roofcast.harness.doctor import machine as machine_checks
from roofcast.harness.doctor import software as software_checks
from roofcast.harness.doctor.activity import Activity
from roofcast.harness.doctor.examination import LEVELS, Finding, examine, worst
from roofcast.harness.errors import UsageError
from roofcast.harness.host.host import Host
from roofcast.harness.measure.budget import Budget
from roofcast.harness.store.store import Store

HOST = Host(
    cpu_model="CPU",
    architecture="x86_64",
    logical_cores=4,
    affinity=(0, 1, 2, 3),
    governor="performance",
    cache_bytes={"L1": 2**15, "L2": 2**20, "L3": 2**25},
    load_average_1m=0.25,
)


def host(**changes):
    return dataclasses.replace(HOST, **changes)


@pytest.mark.parametrize(
    ("check", "changes", "level", "words"),
    [
        (machine_checks.affinity, {}, "ok", "all 4"),
        (machine_checks.affinity, {"affinity": (1,)}, "note", "1 of 4 logical cores"),
        (machine_checks.affinity, {"affinity": (), "logical_cores": None}, "ok", "all of the logical cores"),
        (machine_checks.quota, {}, "ok", "no control group"),
        (machine_checks.quota, {"cpu_quota": 4.0}, "ok", "no control group"),
        (machine_checks.quota, {"cpu_quota": 8.0}, "ok", "no control group"),
        (machine_checks.quota, {"cpu_quota": 4.5}, "note", "4.5 cores"),
        (machine_checks.quota, {"cpu_quota": 3.0}, "warning", "3 cores' worth of time on 4 visible cores"),
        (machine_checks.quota, {"cpu_quota": 0.5}, "warning", "0.5 cores"),
        (machine_checks.governor, {}, "ok", "performance"),
        (machine_checks.governor, {"governor": "powersave"}, "warning", "powersave"),
        (machine_checks.governor, {"governor": "performance+schedutil"}, "warning", "schedutil"),
        (machine_checks.governor, {"governor": ""}, "note", "no frequency governor"),
        (machine_checks.virtual_machine, {}, "ok", "no hypervisor"),
        (machine_checks.virtual_machine, {"hypervisor": True}, "note", "neighbours"),
        (machine_checks.cache_size, {}, "note", "L1 32 KiB, L2 1 MiB, L3 32 MiB; where caching ends is measured by bench"),
        (machine_checks.cache_size, {"cache_bytes": {}}, "note", "tells of no caches; where caching ends is measured"),
    ],
)
def test_what_the_machine_is(check, changes, level, words):
    finding = check(host(**changes))
    assert finding.level == level
    assert words in finding.what
    assert (finding.advice == "") <= (level in ("ok", "note"))


@pytest.mark.parametrize(
    ("finding", "level", "words"),
    [
        (machine_checks.clock(None, None), "ok", "nothing is seen"),
        (machine_checks.clock(False, 0), "ok", "nothing is seen"),
        (machine_checks.clock(True, 0), "note", "above their base frequency"),
        (machine_checks.clock(True, 7), "warning", "7 times"),
        (machine_checks.other_work(HOST, Activity(0.4)), "ok", "0.40 of 4 cores (load average 0.25)"),
        (machine_checks.other_work(HOST, Activity(0.41)), "warning", "0.41 of 4 cores"),
        (machine_checks.other_work(host(cpu_quota=1.0), Activity(0.2)), "warning", "0.20 of 1 cores"),
        (machine_checks.stolen_time(Activity(0, stolen=0.01)), "ok", "1.0%"),
        (machine_checks.stolen_time(Activity(0, stolen=0.25)), "warning", "25.0%"),
        (machine_checks.memory(20e9), "ok", "20.0 GB of memory are free, of which a measurement takes 4.0"),
        (machine_checks.memory(5e9), "ok", f"takes {Budget.of(5e9).total_bytes / 1e9:.1f} at the most"),
        (machine_checks.memory(2e9), "warning", f"takes {Budget.of(2e9).total_bytes / 1e9:.1f} at the most"),
        (machine_checks.memory(10**9 - 1), "error", "1.0 GB"),
        (machine_checks.swap(0), "ok", "0 MB"),
        (machine_checks.swap(10**9), "note", "1000 MB"),
        (machine_checks.timer(4e-8, "tsc"), "ok", "40 ns (clock source tsc)"),
        (machine_checks.timer(1.6e-5, None), "warning", "16000 ns"),
        (machine_checks.large_pages("always"), "ok", "always"),
        (machine_checks.large_pages("madvise"), "note", "madvise"),
        (machine_checks.large_pages(""), "note", "cannot be seen"),
        (software_checks.jax_version(""), "error", "not installed"),
        (software_checks.jax_version("0.9.2"), "warning", "not between 0.10 and 0.12"),
        (software_checks.jax_version("0.10.0"), "ok", "0.10.0"),
        (software_checks.jax_version("0.12.0.1"), "ok", "0.12.0.1"),
        (software_checks.jax_version("0.13.0"), "warning", "0.13.0"),
        (software_checks.jax_version("1.0.0"), "warning", "1.0.0"),
    ],
)
def test_what_else_is_found(finding, level, words):
    assert finding.level == level
    assert words in finding.what


def test_the_busiest_others_are_named():
    finding = machine_checks.other_work(HOST, Activity(2.0, busiest=(("backup", 1.5), ("indexer", 0.4))))
    assert "backup (1.50), indexer (0.40)" in finding.advice


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({}, [("ok", "no variable")]),
        ({"JAX_DISABLE_JIT": "0", "JAX_ENABLE_X64": "False"}, [("ok", "no variable")]),
        ({"JAX_DISABLE_JIT": "1"}, [("error", "nothing is compiled")]),
        ({"JAX_ENABLE_X64": "true", "JAX_PLATFORMS": "cpu"}, [("warning", "64 bits"), ("note", "JAX_PLATFORMS=cpu")]),
        ({"XLA_FLAGS": "--a"}, [("warning", "XLA_FLAGS=--a")]),
        ({"OMP_NUM_THREADS": "1"}, [("note", "OMP_NUM_THREADS=1")]),
    ],
)
def test_variables_that_change_figures(variables, expected):
    found = list(software_checks.environment(variables))
    assert [finding.level for finding in found] == [level for level, _ in expected]
    assert all(words in finding.what for finding, (_, words) in zip(found, expected, strict=True))


def test_numba_is_looked_for_but_not_imported(monkeypatch):
    assert software_checks.numba().level == "ok"
    monkeypatch.setattr(software_checks, "find_spec", lambda name: None)
    assert software_checks.numba().level == "note"


def test_results_in_an_object_store_are_tried_there(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert software_checks.results("memory://bucket/doctor").level == "ok"
    assert software_checks.results("nowhere://bucket/results").level == "error"
    assert list(tmp_path.iterdir()) == []


def test_results_that_can_be_kept_leave_no_trace(tmp_path):
    assert software_checks.results(tmp_path / "new" / "folder").level == "ok"
    assert software_checks.results(tmp_path).level == "ok"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_results_that_cannot_be_kept(tmp_path, name):
    (tmp_path / "file").write_text("mine")
    finding = software_checks.results(tmp_path / name)
    assert finding.level == "error"
    assert str(tmp_path / name) in finding.what
    with pytest.raises(UsageError):
        Store(tmp_path / name).check_writable()


def test_results_in_a_folder_of_the_kernel_cannot_be_kept():
    finding = software_checks.results(Path("/proc/results"))
    assert finding.level == "error"


CpuTimes = namedtuple("CpuTimes", "user nice system idle iowait irq softirq steal guest")


def test_the_difference_of_two_looks():
    before = CpuTimes(100.0, 1.0, 10.0, 500.0, 5.0, 0.0, 0.0, 2.0, 0.0)
    after = CpuTimes(103.0, 1.0, 11.0, 510.0, 6.0, 0.0, 1.0, 6.0, 3.0)
    found = activity.between(before, after, elapsed_s=5.0, own_cores=0.25)
    assert found.others_cores == pytest.approx((3 + 1 + 1) / 5 - 0.25)
    assert found.stolen == pytest.approx(4 / (3 + 1 + 1 + 10 + 1 + 4))


def test_a_mac_counts_no_stolen_time():
    times = namedtuple("Times", "user nice system idle")
    found = activity.between(times(0.0, 0.0, 0.0, 0.0), times(1.0, 0.0, 1.0, 2.0), elapsed_s=2.0, own_cores=1.5)
    assert found == Activity(0.0, 0.0)


def test_a_look_too_short_to_count_says_nothing():
    times = CpuTimes(*[1.0] * 9)
    assert activity.between(times, times, elapsed_s=0.001, own_cores=0.0) == Activity(0.0, 0.0)


def test_a_busy_process_is_seen():
    busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
    try:
        names = [name for name, _ in activity.watch(0.4).busiest]
    finally:
        busy.kill()
        busy.wait()
    assert any("python" in name.lower() for name in names)


def test_the_timer_steps_forward():
    assert 0 < machine_checks.timer_step_s() < 1


def test_the_doctor_looks_at_everything_but_jax(tmp_path):
    script = (
        "import sys; from pathlib import Path; from roofcast.harness.doctor.examination import examine;"
        "print(*(finding.name for finding in examine(Path(sys.argv[1]), watch_s=0.05)), sep='\\n');"
        "sys.exit('jax' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, check=True)
    names = done.stdout.splitlines()
    assert {"other work", "cpu quota", "memory", "timer", "jax", "results"} <= set(names)
    assert [name for name in set(names) - {"environment"} if names.count(name) > 1] == []


def test_the_doctor_asks_jax_on_demand(tmp_path):
    found = {finding.name: finding for finding in examine(tmp_path, with_jax=True, watch_s=0.01)}
    assert "backend cpu" in found["jax device"].what
    assert found["donation"].level == "ok"
    assert found["64-bit"].level == "ok"
    assert found["compilation cache"].name


def test_an_unused_gpu_is_pointed_out(tmp_path):
    version = tmp_path / "proc/driver/nvidia/version"
    version.parent.mkdir(parents=True)
    version.touch()
    device = next(one for one in software_checks.jax_runtime(tmp_path) if one.name == "jax device")
    assert device.level == "warning"
    assert "roofcast[cuda]" in device.advice


def test_jax_that_does_not_start_is_an_error(monkeypatch, tmp_path):
    import jax

    def refuse():
        raise RuntimeError("no backend")

    monkeypatch.setattr(jax, "default_backend", refuse)
    (finding,) = software_checks.jax_runtime(tmp_path)
    assert finding.level == "error"
    assert "no backend" in finding.what


def test_another_machine_is_examined_through_its_files(tmp_path, monkeypatch):
    monkeypatch.setattr(platform, "system", lambda: "Linux")
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0}, raising=False)
    contents = {
        "proc/cpuinfo": "model name: Other CPU\nflags: hypervisor",
        "proc/meminfo": "MemTotal: 4000000 kB\nMemAvailable: 500000 kB\nSwapTotal: 2000000 kB\nSwapFree: 0 kB",
        "proc/self/cgroup": "0::/",
        "sys/fs/cgroup/cpu.max": "50000 100000",
        "sys/devices/system/cpu/online": "0",
        "sys/devices/system/cpu/cpufreq/boost": "1",
        "sys/devices/system/cpu/cpufreq/policy0/scaling_governor": "ondemand",
        "sys/devices/system/cpu/cpu0/thermal_throttle/core_throttle_count": "3",
        "sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet",
        "sys/kernel/mm/transparent_hugepage/enabled": "always madvise [never]",
    }
    for path, content in contents.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(f"{content}\n")
    found = {finding.name: finding for finding in examine(tmp_path / "results", watch_s=0.01, root=tmp_path)}
    levels = {
        "virtual machine": "note",
        "cpu quota": "warning",
        "governor": "warning",
        "clock": "warning",
        "memory": "error",
        "swap": "note",
        "large pages": "note",
    }
    assert {name: found[name].level for name in levels} == levels
    assert "hpet" in found["timer"].what


def test_the_worst_counts():
    assert worst([]) == "ok"
    for level in LEVELS:
        assert worst([Finding("a", "ok", ""), Finding("b", level, "")]) == level
