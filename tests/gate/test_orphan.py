"""Workers of a gate that was killed."""

import subprocess
import sys
import time

import psutil

WORKER = """
import time
from roofcast.harness.gate.orphan import end_with_parent
end_with_parent()
print("ready", flush=True)
time.sleep(600)
"""
PARENT = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {WORKER!r}])"


def test_a_worker_in_a_kernel_that_never_ends_ends_with_its_parent():
    with subprocess.Popen((sys.executable, "-c", PARENT), stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout.readline() == "ready\n"
        (worker,) = psutil.Process(parent.pid).children()
        parent.kill()
    end = time.monotonic() + 60
    while is_alive(worker) and time.monotonic() < end:
        time.sleep(0.1)
    assert not is_alive(worker)


def is_alive(process):
    try:
        # One that nobody has reaped is still listed.
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
