"""Our kernels as a suite of pytest-benchmark: a call of each op in a real decode step, checked, and timed if asked for.

`make test` checks alone. Nothing here asserts a time: two revisions are held against each other by
`roofcast gate suite=tests/benchmarks`.
"""

import functools

import jax
import pytest
from roofcast.harness.facts.models import model_named
from roofcast.harness.measure.choice import chosen
from roofcast.harness.steps.workloads import decode_step
from roofcast.kernels import check
from roofcast.kernels.model import Step

STEP = Step(model_named("qwen3-0.6b"), context=1024)
# The first of each op is of one layer. A call that takes a buffer over cannot be called again with it.
CALLS = {need.workload.op: need.workload for need in reversed(decode_step(STEP)) if not need.workload.donated}


@pytest.mark.parametrize("op", CALLS)
def test_kernel(benchmark, op):
    workload = CALLS[op]
    (one,), _ = chosen(workload, "default", jax.default_backend())
    packed = check.draw(workload, 0)
    operands = jax.tree.map(jax.numpy.array, packed)
    program = jax.jit(functools.partial(one.function, workload)).lower(**operands).compile()
    benchmark.group = op
    outputs = benchmark(lambda: jax.block_until_ready(program(**operands)))
    outputs = jax.device_get(outputs if isinstance(outputs, tuple) else (outputs,))
    assert check.error(workload, outputs, check.expected(workload, packed, outputs)) <= workload.tolerance()
