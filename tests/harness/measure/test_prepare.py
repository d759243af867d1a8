"""What is timed is awake."""

from typing import Any

import pytest
from roofcast.harness.measure import direct, looped
from roofcast.harness.measure import prepare as preparing
from roofcast.harness.measure.caches import Caches
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.prepare import Kernel, prepare, prepare_peer
from roofcast.kernels import check
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.op import Implementation

CACHES = Caches.rotated(2**16)
SMALL = Gemv(n=8, k=64, weight_format="f32")


def right(workload: Gemv, weight: Any, x: Any) -> Any:
    return weight @ x


def code(function: Any) -> Implementation:
    return Implementation("test.code", "gemv", function, ("cpu",), 0, lambda workload: None)


def prepared(dispatch_s: float) -> Kernel:
    packed = check.draw(SMALL, seed=0)
    compiled = compile_call(SMALL, code(right), packed)
    return prepare(SMALL, code(right), compiled, packed, residency="warm", caches=CACHES, dispatch_s=dispatch_s)


@pytest.mark.parametrize("method", ["direct", "looped", "peer"])
def test_something_else_is_called_before_what_is_timed(method: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    for module in (preparing, direct, looped):
        name = "empty_call" if method == "peer" else "wake"
        monkeypatch.setattr(module, name, lambda: lambda: order.append("empty"), raising=False)
    if method == "peer":
        called = code(lambda workload, weight, x: lambda: order.append("peer"))
        packed = check.draw(SMALL, seed=0)
        call = called.function(SMALL, **packed)
        kernel = prepare_peer(SMALL, called, call, packed, residency="warm", caches=CACHES)
    else:
        kernel = prepared(0.0 if method == "direct" else 1e-4)
        assert kernel.method.startswith("direct" if method == "direct" else "compiled loop")
    order.clear()
    kernel.sample()
    assert order[0] == "empty"
    # Each direct call leaves the next one's dispatch cold; another library's threads must not meet XLA's.
    assert order.count("empty") == (kernel.calls_per_sample if method == "direct" else 1)
