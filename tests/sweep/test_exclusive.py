"""Turns on a device: preparations together, a measurement alone, and a dead holder in nobody's way."""

import subprocess
import sys
import threading
from pathlib import Path

from roofcast.harness.host.exclusive import Device, device_name

HOLDER = """
import sys, time
from pathlib import Path
from roofcast.harness.host.exclusive import Device
with Device("cpu", folder=Path(sys.argv[1])).alone():
    print("held", flush=True)
    time.sleep(600)
"""


def test_preparations_share_a_device_and_a_measurement_waits_for_them(tmp_path: Path) -> None:
    told: list[bool] = []
    one, other = Device("cpu", folder=tmp_path), Device("cpu", told.append, tmp_path)
    order: list[str] = []

    def measure() -> None:
        with other.alone():
            order.append("measured")

    with one.shared(), other.shared():
        thread = threading.Thread(target=measure)
        thread.start()
        thread.join(0.2)
        order.append("prepared")
    thread.join()
    assert order == ["prepared", "measured"]
    assert told == [True, False]


def test_devices_do_not_wait_for_each_other(tmp_path: Path) -> None:
    told: list[bool] = []
    with Device("gpu-0", told.append, tmp_path).alone(), Device("gpu-1", told.append, tmp_path).alone():
        assert told == []


def test_a_killed_holder_lets_go(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, str(tmp_path)], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        told: list[bool] = []
        threading.Timer(0.2, holder.kill).start()
        with Device("cpu", told.append, tmp_path).alone():
            assert told == [True, False]


def test_a_device_has_one_name_in_processes_that_see_others(monkeypatch) -> None:
    assert device_name("cpu") == "cpu"
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,5")
    assert device_name("gpu", 1) == "gpu-5"
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert device_name("gpu", 1) == "gpu-1"
