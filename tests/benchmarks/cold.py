"""Whether the two ways to keep operands out of a cache agree: `python tests/benchmarks/cold.py`.

Kernels are timed by turns with caches that are emptied before each sample, and over copies that are rotated through more than
the caches hold. The memory is read before each sample of either, as in a measurement: memory that has rested is faster. The
ratio of two times of one kernel is 1 where both are cold.
"""

from __future__ import annotations

import numpy as np
from roofcast.harness.host.host import fingerprint
from roofcast.harness.host.memory import free_bytes
from roofcast.harness.measure.budget import FAR_BYTES, Budget
from roofcast.harness.measure.caches import KEPT_MULTIPLE, Caches
from roofcast.harness.measure.ceilings import Limits, measure_limits
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.device import backend_and_kind
from roofcast.harness.measure.place import placed
from roofcast.harness.measure.prepare import Kernel, prepare
from roofcast.harness.measure.statistics import median_interval
from roofcast.harness.report.table import Column, Table, show
from roofcast.kernels import check
from roofcast.kernels.attention import Attention
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.norm import Norm
from roofcast.kernels.op import Workload
from roofcast.kernels.registry import supported

ROUNDS = 60
CALLS = (
    Norm(kind="rmsnorm", d=2048, residual=True, weight_format="bf16"),
    Gemv(n=256, k=256, weight_format="bf16"),
    Gemv(n=2048, k=1024, weight_format="bf16"),
    Attention(heads=32, kv_heads=8, head_dim=64, value_dim=64, context=2048, scale_dim=64, kv_format="bf16"),
    Gemv(n=2048, k=2048, weight_format="bf16"),
    Gemv(n=4096, k=4096, weight_format="bf16"),
    Gemv(n=14336, k=4096, weight_format="bf16"),
    Gemv(n=14336, k=4096, weight_format="int4"),
)


def main() -> None:
    """Measures and prints the table."""
    backend, _ = backend_and_kind()
    limits = measure_limits(backend, fingerprint().cache_bytes, ("f32",), Budget.of(free_bytes()))
    rotated = Caches.rotated(FAR_BYTES / KEPT_MULTIPLE)
    rows = [row(call, backend, limits, rotated) for call in CALLS]
    columns = [Column("kernel", text=True), Column("emptied", "us"), Column("rotated", "us"), Column("ratio"), Column("95 %")]
    show(Table("Two ways to be cold", columns, rows, [f"medians of {ROUNDS} pairs of samples, taken by turns"]))


def row(call: Workload, backend: str, limits: Limits, rotated: Caches) -> list[str]:
    """Both times of one kernel."""
    one = next(one for one, refusal in supported(call, backend) if refusal is None)
    packed, dispatch_s = check.draw(call, 0), limits.ceilings.dispatch_us / 1e6
    compiled = compile_call(call, one, packed)
    kernels = [
        prepare(call, one, compiled, placed(packed)[0], residency="cold", caches=caches, dispatch_s=dispatch_s)
        for caches in (limits.caches, rotated)
    ]

    def sample(kernel: Kernel) -> float:
        limits.read.rate()
        return kernel.sample()

    samples = 1e6 * np.array([[sample(kernel) for kernel in kernels] for _ in range(ROUNDS)])
    ratio = median_interval(samples[:, 0] / samples[:, 1])
    return [
        call.label,
        *(f"{us:.4g}" for us in np.median(samples, axis=0)),
        f"{ratio.point:.3f}",
        f"{ratio.low:.3f} to {ratio.high:.3f}",
    ]


if __name__ == "__main__":
    main()
