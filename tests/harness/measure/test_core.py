"""What is timed runs on the core that its probe runs on."""

import subprocess
import sys

import pytest
from roofcast.harness.measure.core import core_probe

SHARE_OF_THE_CALLER = """
import sys, time
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.core import is_alone
from roofcast.harness.measure.device import backend_and_kind
from roofcast.harness.measure.prepare import prepare
from roofcast.kernels import check
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.norm import Norm
from roofcast.kernels.registry import supported

backend, _ = backend_and_kind()
call = {
    "norm": Norm(kind="rmsnorm", d=2048, residual=True, weight_format="bf16"),
    "gemv": Gemv(n=8192, k=2048, weight_format="bf16"),
}[sys.argv[1]]
one = next(one for one, refusal in supported(call, backend) if refusal is None)
packed = check.draw(call, seed=0)
kernel = prepare(
    call, one, compile_call(call, one, packed), packed, residency="cold", cache_bytes=2**20, dispatch_s=1e-5
)
print(sum(is_alone(kernel.sample) for _ in range(9)))
"""


@pytest.mark.parametrize(("call", "is_alone"), [("norm", True), ("gemv", False)])
def test_a_small_call_runs_on_the_thread_that_makes_it_and_a_large_one_on_all(call: str, is_alone: bool) -> None:
    # JAX takes the setting when it makes its client, as this process has done.
    command = (sys.executable, "-c", SHARE_OF_THE_CALLER, call)
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert (int(said.stdout) > 4) is is_alone


def test_the_probe_of_a_core_says_how_many_turns_it_makes() -> None:
    # 256 additions and products take a core eight cycles at the least.
    assert 1e-3 < core_probe()() < 600
