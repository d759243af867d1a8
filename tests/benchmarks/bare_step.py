"""Whether a whole step is timed as a bare loop times it: `python tests/benchmarks/bare_step.py [format ...]`.

The same compiled program on the same operands is sampled by the harness, and called between two readings of the clock with
nothing else there, by turns and with a read of the memory before each. The ratio is 1 where the harness adds nothing.
"""

from __future__ import annotations

import sys
import time

import jax
import numpy as np
from roofcast.harness.facts.models import model_named
from roofcast.harness.host.host import fingerprint
from roofcast.harness.host.memory import free_bytes
from roofcast.harness.measure.budget import Budget
from roofcast.harness.measure.ceilings import Limits, measure_limits
from roofcast.harness.measure.compiled import compile_call
from roofcast.harness.measure.device import backend_and_kind
from roofcast.harness.measure.place import placed
from roofcast.harness.measure.prepare import prepare
from roofcast.harness.measure.statistics import median_interval
from roofcast.harness.report.table import Column, Table, show
from roofcast.kernels import check
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.registry import supported
from roofcast.kernels.step import DecodeStep

ROUNDS = 40


def main(formats: list[str]) -> None:
    """Measures and prints the table."""
    backend, _ = backend_and_kind()
    limits = measure_limits(backend, fingerprint().cache_bytes, ("f32",), Budget.of(free_bytes()))
    rows = [row(name, backend, limits) for name in formats]
    columns = [Column("step", text=True), Column("harness", "us"), Column("bare", "us"), Column("ratio"), Column("95 %")]
    columns += [Column("overhead", "us"), Column("of ceiling", "%")]
    show(Table("A whole step by the harness and by a bare loop", columns, rows, [f"medians of {ROUNDS} pairs of samples"]))


def row(weight: str, backend: str, limits: Limits) -> list[str]:
    """Both times of a step of Llama-3.2-1B."""
    kv = weight if weight in ("bf16", "int8") else "bf16"
    call = DecodeStep.of(Step(model_named("llama-3.2-1b"), 128, Formats(weight, kv, "f32")))
    one = next(one for one, refusal in supported(call, backend) if refusal is None)
    [packed] = placed(check.draw(call, 0))
    compiled = compile_call(call, one, check.shapes(call))
    kernel = prepare(
        call, one, compiled, packed, residency="cold", caches=limits.caches, dispatch_s=limits.ceilings.dispatch_us / 1e6
    )
    given = {name: jax.tree.map(jax.numpy.array, value) if name in call.donated else value for name, value in packed.items()}
    names, donated = tuple(call.results()), frozenset(call.donated)

    def bare() -> float:
        start = time.perf_counter()
        results = jax.block_until_ready(compiled.program(**given))
        seconds = time.perf_counter() - start
        given.update((name, result) for name, result in zip(names, results, strict=True) if name in donated)
        return seconds

    pairs, rates = [], []
    for _ in range(ROUNDS):
        rates.append(limits.read.rate())
        first = kernel.sample()
        rates.append(limits.read.rate())
        pairs.append((first, bare()))
    samples = 1e6 * np.array(pairs)
    ratio = median_interval(samples[:, 0] / samples[:, 1])
    floor_us = call.cost().streamed_bytes / np.median(rates) / 1e3
    return [
        f"Llama-3.2-1B {weight}",
        *(f"{us:.0f}" for us in np.median(samples, axis=0)),
        f"{ratio.point:.3f}",
        f"{ratio.low:.3f} to {ratio.high:.3f}",
        f"{1e6 * kernel.overhead_s:.1f}",
        f"{100 * floor_us / np.median(samples[:, 0]):.0f}",
    ]


if __name__ == "__main__":
    main(sys.argv[1:] or ["bf16", "int8", "int4"])
