"""What is timed runs on the core that its probe runs on."""

import subprocess
import sys

from roofcast.harness.measure.core import core_probe

SHARE_OF_THE_CALLER = """
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.core import is_alone
from roofcast.harness.measure.device import backend_and_kind
from roofcast.harness.measure.prepare import prepare
from roofcast.kernels import check
from roofcast.kernels.norm import Norm
from roofcast.kernels.registry import supported

backend, _ = backend_and_kind()
call = Norm(kind="rmsnorm", d=2048, residual=True, weight_format="bf16")
one = next(one for one, refusal in supported(call, backend) if refusal is None)
packed = check.draw(call, seed=0)
kernel = prepare(
    call, one, compile_call(call, one, packed), packed, residency="cold", caches=Caches.rotated(2**20), dispatch_s=1e-5
)
print(sum(is_alone(kernel.sample) for _ in range(9)))
"""


def test_a_small_call_runs_on_the_thread_that_makes_it() -> None:
    # JAX takes the setting when it makes its client, as this process has done. Whether a large call wakes a second thread is
    # the machine's affair: it may have one core, or lend the other to somebody else.
    command = (sys.executable, "-c", SHARE_OF_THE_CALLER)
    said = subprocess.run(command, check=True, capture_output=True, text=True, timeout=300)
    assert int(said.stdout) > 4


def test_the_probe_of_a_core_says_how_many_turns_it_makes() -> None:
    # 256 additions and products take a core eight cycles at the least.
    assert 1e-3 < core_probe()() < 600
