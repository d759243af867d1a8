"""What is timed runs on the core that its probe runs on."""

import subprocess
import sys

import pytest
from roofcast.harness.measure.core import core_probe

SHARE_OF_THE_CALLER = """
import sys, time
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.core import compute_where_called
from roofcast.harness.measure.prepare import prepare
from roofcast.kernels import check
from roofcast.kernels.norm import Norm
from roofcast.kernels.registry import implementations

if sys.argv[1] == "where called":
    compute_where_called()
norm, one = Norm(kind="rmsnorm", d=2048, residual=True, weight_format="bf16"), implementations("norm")[0]
packed = check.draw(norm, seed=0)
program = compile_call(norm, one, packed)
kernel = prepare(norm, one, program, packed, residency="cold", cache_bytes=2**20, dispatch_s=1e-5)
mine, all_threads = time.thread_time(), time.process_time()
while time.process_time() - all_threads < 0.3:
    kernel.sample()
print((time.thread_time() - mine) / (time.process_time() - all_threads))
"""


@pytest.mark.parametrize("where", ["where called", "as JAX does"])
def test_a_call_runs_on_the_thread_that_makes_it(where: str) -> None:
    # JAX takes the setting when it first computes, which this process has done. The smallest programs run there in any case.
    command = (sys.executable, "-c", SHARE_OF_THE_CALLER, where)
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert (float(said.stdout) > 0.5) is (where == "where called")


def test_the_probe_of_a_core_says_how_many_turns_it_makes() -> None:
    # No core takes less than a cycle for a turn of so many additions, nor a millisecond.
    assert 1e-3 < core_probe()() < 1e4
