"""Where a worker runs: it leaves cores to others, and the gate stays where it was."""

import os
import sys
from pathlib import Path

import psutil
import pytest
from roofcast.harness.gate.checkout import Revision
from roofcast.harness.gate.process import Process, _link, cores_but
from roofcast.harness.host.provenance import PACKAGE_FOLDER

pytestmark = pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="this system pins no process to cores")


@pytest.fixture
def three_cores(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {7, 2, 5})


@pytest.mark.parametrize(("spare", "left"), [(0, (2, 5, 7)), (1, (5, 7)), (2, (7,)), (9, (7,))])
def test_all_cores_but_the_spare_ones_and_at_least_one(three_cores, spare, left):
    assert cores_but(spare) == left


def test_a_worker_has_its_cores_from_the_start_and_the_gate_keeps_its_own(tmp_path):
    mine = os.sched_getaffinity(0)
    one = max(mine)
    revision = Revision("here", "0" * 40, Path(__file__).parents[2], sys.executable)
    # Another test of this process may have left a browser open.
    before = set(psutil.Process().children())
    with Process(revision, tmp_path / "worker", cores=(one,)):
        (worker,) = set(psutil.Process().children()) - before
        assert worker.cpu_affinity() == [one]
    assert os.sched_getaffinity(0) == mine


@pytest.mark.parametrize("own", [False, True])
def test_a_revision_is_measured_by_the_gates_harness_or_by_its_own(tmp_path, own):
    theirs = tmp_path / "revision"
    (theirs / "kernels").mkdir(parents=True)
    (theirs / "kernels" / "op.py").touch()
    _link(Revision("theirs", "0" * 40, theirs), tmp_path / "links", own_harness=own)
    package = tmp_path / "links" / "roofcast"
    homes = {room: (package / room).readlink().parent for room in ("kernels", "conf", "harness")}
    assert homes == {"kernels": theirs, "conf": theirs, "harness": theirs if own else PACKAGE_FOLDER.parent}
