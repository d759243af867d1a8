"""Kernels in processes of their own: on one CPU, and without Numba."""

import os
import subprocess
import sys
import textwrap

import pytest
from roofcast.kernels.ffi import unusable

pytestmark = pytest.mark.skipif(unusable() is not None, reason=str(unusable()))


def _run(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot pin a process to a CPU")
def test_one_cpu_is_enough() -> None:
    printed = _run(
        """
        import os
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
        import jax, jax.numpy as jnp
        from roofcast.kernels.gemv import Gemv
        from roofcast.kernels.gemv.cpu import numba
        workload = Gemv(n=4000, k=500, weight_format="f32")
        call = jax.jit(lambda weight, x: numba.function(workload, weight=weight, x=x))
        for _ in range(20):
            y = call(jnp.ones((4000, 500)), jnp.ones(500))
        print(float(y.min()), float(y.max()))
        """
    )
    assert printed.split() == ["500.0", "500.0"]


def test_without_numba_the_reason_is_said() -> None:
    printed = _run(
        """
        import sys
        sys.modules["numba"] = None
        from roofcast.kernels.gemv import Gemv
        from roofcast.kernels.registry import supported
        for one, refusal in supported(Gemv(n=1, k=1, weight_format="f32"), "cpu"):
            print(one.name, refusal)
        """
    )
    reasons = dict(line.split(" ", 1) for line in printed.splitlines())
    assert reasons["cpu.numba"].startswith("Numba cannot be imported: ")
    assert "None" in reasons.values()
