"""What a GPU's driver says is read, judged and recorded, without a GPU."""

import ctypes
from dataclasses import replace

import pytest
from roofcast.harness.doctor import gpu as gpu_checks
from roofcast.harness.errors import UsageError
from roofcast.harness.host import gpu, nvidia
from roofcast.harness.host.exclusive import device_name, device_number
from roofcast.harness.host.host import Host, differences

CALM = "NVIDIA H100 80GB HBM3, 580.159.04, 0x0000000000000001, 345, 1980, 2619, 70.31, 700.00, 31, 0, 4\n"
CAPPED = "NVIDIA H100 80GB HBM3, 580.159.04, 0x0000000000000024, 1410, 1980, 2619, 699.12, 700.00, 84, 100, 60123\n"
SILENT = "NVIDIA GB10, 580.95.05, [N/A], 208, 3003, [N/A], 4.31, [N/A], 41, 0, [N/A]\n"


def test_a_calm_gpu_is_read_field_by_field():
    state = nvidia.parse(CALM)
    assert state is not None
    assert (state.name, state.driver, state.throttled_by) == ("NVIDIA H100 80GB HBM3", "580.159.04", ())
    assert state.figures() == {
        "sm_clock_mhz": 345, "sm_clock_most_mhz": 1980, "memory_clock_mhz": 2619, "power_w": 70.31, "power_limit_w": 700,
        "temperature_c": 31, "utilization_percent": 0, "memory_used_mib": 4, "reasons": 1,
    }  # fmt: skip


def test_what_a_gpu_does_not_tell_is_left_out():
    state = nvidia.parse(SILENT)
    assert state is not None
    assert state.reasons is None
    assert state.throttled_by == ()
    assert set(state.figures()) == {
        "sm_clock_mhz", "sm_clock_most_mhz", "power_w", "temperature_c", "utilization_percent",
    }  # fmt: skip


@pytest.mark.parametrize("said", ["", "No devices were found\n", 'Field "clocks.sm" is not a valid field to query.\n'])
def test_what_is_no_answer_is_none(said):
    assert nvidia.parse(said) is None


def test_an_older_driver_is_asked_by_the_older_name():
    asked = []

    def ask(*command):
        asked.append(command)
        return CALM if "clocks_throttle_reasons.active" in command[2] else ""

    assert nvidia.gpu_state("3", ask) == nvidia.parse(CALM)
    assert [command[1] for command in asked] == ["--id=3"] * 2
    assert nvidia.gpu_state("0", lambda *command: "") is None


@pytest.mark.parametrize(
    ("said", "name", "level", "words"),
    [
        (CALM, "gpu clock", "ok", "345 MHz of 1980"),
        (CAPPED, "gpu clock", "warning", "software power cap, software thermal slowdown"),
        (CALM.replace(" 31,", " 85,"), "gpu clock", "warning", "85 C"),
        (CALM, "gpu use", "ok", "4 MiB"),
        (CAPPED, "gpu use", "warning", "100 % busy"),
        (SILENT, "gpu clock", "ok", "208 MHz of 3003"),
        ("", "gpu", "note", "does not answer"),
    ],
)
def test_the_doctor_speaks_of_the_gpu(said, name, level, words):
    (one,) = [one for one in gpu_checks.findings(nvidia.parse(said), {}) if one.name == name]
    assert one.level == level
    assert words in one.what


@pytest.mark.parametrize(
    ("variables", "level", "words"),
    [
        ({}, "ok", "three quarters"),
        ({"XLA_PYTHON_CLIENT_MEM_FRACTION": ".9"}, "ok", ".9 of the memory"),
        ({"XLA_PYTHON_CLIENT_PREALLOCATE": "false"}, "note", "as it is needed"),
        ({"XLA_PYTHON_CLIENT_ALLOCATOR": "platform"}, "warning", "by the driver"),
    ],
)
def test_the_doctor_speaks_of_the_allocator(variables, level, words):
    *_, one = gpu_checks.findings(None, variables)
    assert (one.name, one.level) == ("gpu memory", level)
    assert words in one.what


class Driver:
    """CUDA's driver as far as it is asked."""

    def __init__(self, l2, fails=()):
        self.l2, self.fails = l2, fails

    def cuInit(self, flags):  # noqa: N802
        return 100 if "init" in self.fails else 0

    def cuDeviceGet(self, device, number):  # noqa: N802
        return 0

    def cuDeviceGetAttribute(self, size, attribute, device):  # noqa: N802
        ctypes.cast(size, ctypes.POINTER(ctypes.c_int))[0] = self.l2 if attribute == 38 else 1
        return 0


def test_the_driver_tells_the_l2_cache():
    assert nvidia.l2_bytes(load=lambda name: Driver(52428800)) == 52428800
    assert nvidia.l2_bytes(load=lambda name: Driver(52428800, fails=("init",))) is None
    assert nvidia.l2_bytes(load=lambda name: Driver(0)) is None


def test_a_machine_without_the_driver_has_no_l2():
    assert nvidia.l2_bytes(load=lambda name: ctypes.CDLL("no such library")) is None


def test_the_l2_is_the_drivers_else_the_catalogues_else_asked_for():
    assert gpu.cache_bytes("Some GPU", lambda: 123) == {"L2": 123}
    assert gpu.cache_bytes("NVIDIA H100 80GB HBM3", lambda: None) == {"L2": 50_000_000}
    with pytest.raises(UsageError, match="'Some GPU'"):
        gpu.cache_bytes("Some GPU", lambda: None)


def test_a_device_is_known_by_its_own_number(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3, 5")
    assert (device_name("gpu", 1), device_number(), device_number(2)) == ("gpu-5", "3", "2")


def test_times_by_unlike_clocks_are_not_of_one_host():
    host = Host(cpu_model="CPU", architecture="x86_64", backend="gpu", device_kind="Some GPU")
    device = replace(host, timer="cupti")
    assert host.key != device.key
    assert host.machine_key == device.machine_key
    assert differences(host, device) == {"timer": (None, "cupti")}
    assert differences(device, host) == {"timer": ("cupti", None)}
