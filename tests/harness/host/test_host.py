import os
import platform
import subprocess
import sys

import pytest
from roofcast.harness.host import host as hosts
from roofcast.harness.host import linux
from roofcast.harness.host.host import DEFAULT_CACHE_BYTES, fingerprint

X86 = """\
processor\t: 0
vendor_id\t: GenuineIntel
cpu family\t: 6
model\t\t: 143
model name\t: Intel(R) Xeon(R) Platinum 8488C
stepping\t: 8
flags\t\t: fpu sse4_2 avx2 fma avx512f amx_bf16 {extra}

processor\t: 1
model name\t: another core
"""
ARM = """\
processor\t: 0
BogoMIPS\t: 2000.00
Features\t: fp asimd aes sve i8mm
CPU implementer\t: 0x41
CPU variant\t: 0x0
CPU part\t: 0xd4f
"""
CPU = "sys/devices/system/cpu"


def tree(root, contents):
    for path, content in contents.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(f"{content}\n")
    return root


def cache(cpu, index, level, kind, size, shared):
    folder = f"{CPU}/cpu{cpu}/cache/index{index}"
    return {
        f"{folder}/level": level,
        f"{folder}/type": kind,
        f"{folder}/size": size,
        f"{folder}/shared_cpu_list": shared,
    }


@pytest.fixture
def server(tmp_path):
    """Four cores with two threads each, in two complexes with an L3 cache each."""
    contents = {
        f"{CPU}/online": "0-7",
        "proc/cpuinfo": X86.format(extra=""),
        "proc/meminfo": "MemTotal:       16000000 kB\nMemAvailable:   9000000 kB\nSwapTotal: 2000 kB\nSwapFree: 500 kB",
    }
    for cpu in range(8):
        core = cpu % 4
        contents |= {f"{CPU}/cpu{cpu}/topology/physical_package_id": 0, f"{CPU}/cpu{cpu}/topology/core_id": core}
        pair, complex_ = f"{core},{core + 4}", "0-1,4-5" if core < 2 else "2-3,6-7"
        contents |= cache(cpu, 0, 1, "Data", "48K", pair)
        contents |= cache(cpu, 1, 1, "Instruction", "32K", pair)
        contents |= cache(cpu, 2, 2, "Unified", "2048K", pair)
        contents |= cache(cpu, 3, 3, "Unified", "32M", complex_)
    for policy in (0, 4):
        contents[f"{CPU}/cpufreq/policy{policy}/scaling_governor"] = "schedutil"
    return tree(tmp_path, contents)


@pytest.fixture
def pinned(monkeypatch):
    """Pins this process, as the harness sees it."""
    monkeypatch.setattr(platform, "system", lambda: "Linux")

    def pin(*cpus):
        monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(cpus), raising=False)

    return pin


def test_a_server_is_read_from_its_files(server, pinned):
    pinned(*range(8))
    host = fingerprint(root=server, backend="cpu", device_kind="cpu")
    assert host.cpu_model == "Intel(R) Xeon(R) Platinum 8488C"
    assert host.cpu_signature == "family 6 model 143 stepping 8"
    assert host.cpu_features == ("amx_bf16", "avx2", "avx512f", "fma", "sse4_2")
    assert (host.physical_cores, host.logical_cores, host.affinity_count) == (4, 8, 8)
    assert host.cache_bytes == {"L1": 4 * 48 * 2**10, "L2": 4 * 2**21, "L3": 2 * 2**25}
    assert list(host.cache_bytes) == ["L1", "L2", "L3"]
    assert host.last_level_cache_bytes == 2**26
    assert host.memory_bytes == 16_000_000 * 1024
    assert host.governor == "schedutil"
    assert not host.hypervisor
    assert (host.cpu_quota, host.memory_limit_bytes) == (None, None)
    assert (host.backend, host.device_kind) == ("cpu", "cpu")
    assert host.usable_cores == 8


def test_only_the_caches_of_usable_cores_count(server, pinned):
    pinned(0, 4, 1)
    assert fingerprint(root=server).cache_bytes == {"L1": 2 * 48 * 2**10, "L2": 2 * 2**21, "L3": 2**25}


@pytest.mark.parametrize(
    ("found", "cpus"), [("0", (0,)), ("0-3", (0, 1, 2, 3)), ("0-1,4-5,9", (0, 1, 4, 5, 9)), ("", ()), ("3,", (3,))]
)
def test_lists_of_cores(found, cpus):
    assert linux.cpu_list(found) == cpus


@pytest.mark.parametrize(
    ("contents", "quota"),
    [
        ({}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "max 100000"}, None),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"}, 1.5),
        # The tightest of a process's own group and those above it.
        (
            {
                "proc/self/cgroup": "0::/pod/box",
                "sys/fs/cgroup/pod/cpu.max": "200000 100000",
                "sys/fs/cgroup/pod/box/cpu.max": "max 100000",
            },
            2.0,
        ),
        # Inside a container the path is the host's, and not there.
        ({"proc/self/cgroup": "0::/docker/0123", "sys/fs/cgroup/cpu.max": "50000 100000"}, 0.5),
        (
            {
                "proc/self/cgroup": "4:memory:/a\n3:cpu,cpuacct:/b\n0::/",
                "sys/fs/cgroup/cpu,cpuacct/b/cpu.cfs_quota_us": "300000",
                "sys/fs/cgroup/cpu,cpuacct/b/cpu.cfs_period_us": "100000",
            },
            3.0,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu,cpuacct:/docker/0123",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "25000",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "50000",
            },
            0.5,
        ),
        (
            {
                "proc/self/cgroup": "3:cpu:/",
                "sys/fs/cgroup/cpu/cpu.cfs_quota_us": "-1",
                "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000",
            },
            None,
        ),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": ""}, None),
    ],
)
def test_control_groups_of_either_version_limit_cores(tmp_path, contents, quota):
    assert linux.cpu_quota(tree(tmp_path, contents)) == quota


@pytest.mark.parametrize(
    ("contents", "limit", "available"),
    [
        ({}, None, 8000 * 1024),
        ({"proc/self/cgroup": "0::/", "sys/fs/cgroup/memory.max": "max"}, None, 8000 * 1024),
        (
            {
                "proc/self/cgroup": "0::/box",
                "sys/fs/cgroup/box/memory.max": str(5000 * 1024),
                "sys/fs/cgroup/box/memory.current": str(3000 * 1024),
                "sys/fs/cgroup/box/memory.stat": f"anon 1\ninactive_file {1000 * 1024}\nactive_file 2",
            },
            5000 * 1024,
            3000 * 1024,
        ),
        # Version 1 says "no limit" with a huge number.
        (
            {
                "proc/self/cgroup": "4:memory:/",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712",
                "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000",
            },
            None,
            8000 * 1024,
        ),
        (
            {
                "proc/self/cgroup": "4:memory:/a/b",
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": "4096",
                "sys/fs/cgroup/memory/a/memory.usage_in_bytes": "8192",
            },
            4096,
            0,
        ),
    ],
)
def test_control_groups_of_either_version_limit_memory(tmp_path, contents, limit, available):
    root = tree(tmp_path, {"proc/meminfo": "MemTotal: 16000 kB\nMemAvailable: 8000 kB"} | contents)
    assert linux.memory_limit(root) == limit
    assert linux.memory_available(root) == available


def test_a_quota_is_what_can_be_used(server, pinned):
    pinned(*range(8))
    tree(server, {"proc/self/cgroup": "0::/", "sys/fs/cgroup/cpu.max": "150000 100000"})
    host = fingerprint(root=server)
    assert (host.cpu_quota, host.usable_cores) == (1.5, 1.5)


@pytest.mark.parametrize(
    ("contents", "virtual"),
    [
        ({"proc/cpuinfo": X86.format(extra="")}, False),
        ({"proc/cpuinfo": X86.format(extra="hypervisor")}, True),
        ({"sys/class/dmi/id/sys_vendor": "Amazon EC2"}, True),
        ({"sys/class/dmi/id/sys_vendor": "Dell Inc."}, False),
        ({"sys/hypervisor/type": "xen"}, True),
        ({}, False),
    ],
)
def test_a_hypervisor_is_seen(tmp_path, contents, virtual):
    assert linux.is_virtual(tree(tmp_path, contents)) is virtual


def test_an_arm_server_without_a_name_is_asked_the_slow_way(tmp_path, pinned, monkeypatch):
    pinned(0)
    monkeypatch.setattr(hosts, "_brand", lambda: "Neoverse-V2")
    host = fingerprint(root=tree(tmp_path, {"proc/cpuinfo": ARM, f"{CPU}/online": "0"} | cache(0, 0, 1, "Data", "64K", "0")))
    assert host.cpu_model == "Neoverse-V2"
    assert host.cpu_signature == "implementer 0x41 part 0xd4f variant 0x0"
    assert host.cpu_features == ("asimd", "i8mm", "sve")


def test_a_machine_that_hides_everything_has_a_fingerprint(tmp_path, pinned, monkeypatch):
    pinned(0, 1)
    monkeypatch.setattr(hosts, "_output", lambda *command: "")
    monkeypatch.setattr(hosts, "_brand", lambda: "unknown")
    host = fingerprint(root=tmp_path)
    assert host.cache_bytes == {}
    assert host.last_level_cache_bytes == DEFAULT_CACHE_BYTES
    assert host.logical_cores >= 1
    assert host.memory_bytes > 0
    assert host.governor == host.cpu_signature == ""


def test_caches_that_sysfs_hides_are_asked_of_the_c_library(tmp_path, pinned, monkeypatch):
    pinned(0)
    said = """\
LEVEL1_ICACHE_SIZE                 32768
LEVEL1_DCACHE_SIZE                 49152
LEVEL2_CACHE_SIZE                  2097152
LEVEL3_CACHE_SIZE                  33554432
LEVEL4_CACHE_SIZE                  0
PATH                               /bin"""
    monkeypatch.setattr(hosts, "_output", lambda *command: said if command[0] == "getconf" else "")
    topology = {f"{CPU}/cpu{cpu}/topology/{name}": cpu for cpu in (0, 1) for name in ("physical_package_id", "core_id")}
    root = tree(tmp_path, {"proc/cpuinfo": X86, f"{CPU}/online": "0-1"} | topology)
    assert fingerprint(root=root).cache_bytes == {"L1": 2 * 49152, "L2": 2 * 2**21, "L3": 2**25}


def test_a_mac_is_read_from_sysctl(monkeypatch):
    said = """\
hw.perflevel0.physicalcpu: 8
hw.perflevel0.cpusperl2: 4
hw.perflevel0.l1dcachesize: 131072
hw.perflevel0.l2cachesize: 16777216
hw.l1dcachesize: 65536
hw.l2cachesize: 4194304
machdep.cpu.brand_string: Apple M3 Max
kern.hv_vmm_present: 0"""
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(hosts, "_output", lambda *command: said if command[0] == "sysctl" else "")
    host = fingerprint()
    assert host.cpu_model == "Apple M3 Max"
    assert host.cache_bytes == {"L1": 8 * 2**17, "L2": 2 * 2**24}
    assert not host.hypervisor
    assert host.memory_bytes > 0


def test_this_machine_is_described_without_importing_jax():
    script = (
        "import sys; from roofcast.harness.host.host import fingerprint; host = fingerprint();"
        "assert host.jax_version and host.cpu_model and host.memory_bytes > 0 and host.logical_cores >= 1;"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_slow_way_names_a_processor():
    assert hosts._brand()


def test_a_command_that_is_not_there_says_nothing():
    assert hosts._output("no-such-command-anywhere") == ""
