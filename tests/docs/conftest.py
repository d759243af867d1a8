"""A store as `bench` would have filled it here, for the commands of the documentation that read one."""

import importlib.util
from dataclasses import replace
from pathlib import Path

import pytest
from roofcast.harness.facts.models import model_named
from roofcast.harness.host.host import fingerprint
from roofcast.harness.steps.workloads import decode_step
from roofcast.harness.store.record import Run, Subject
from roofcast.harness.store.store import Store
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.op import Need
from roofcast.kernels.step import DecodeStep

_spec = importlib.util.spec_from_file_location("harness_conftest", Path(__file__).parent.parent / "harness" / "conftest.py")
_harness = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_harness)
measurement = _harness.measurement

STEPS = [
    Step(model_named("llama-3.2-1b"), 2048),
    Step(model_named("llama-3.2-1b"), 2048, Formats(weight="int4")),
    Step(model_named("qwen3-0.6b"), 512),
]


@pytest.fixture(scope="session")
def filled(measurement):
    """Fills the store of a folder: every kernel of three steps, and the steps, as long as they take on a plain machine."""
    usual, host = measurement(), fingerprint()

    def made(place, call, step, needs, latency_us):
        return replace(
            usual,
            record_id=f"{place:032x}",
            host=host,
            run=Run(run_id="a" * 32, roofcast_version="0"),
            subject=Subject.of(call, "cpu.numba", step, needs),
            timing=replace(usual.timing, method="compiled loop of 2 calls", calm=(True, True)),
            statistics=replace(
                usual.statistics,
                latency_us=latency_us,
                latency_low_us=0.99 * latency_us,
                latency_high_us=1.01 * latency_us,
                disturbance=0.0,
            ),
        )

    def fill(folder):
        records = []
        for step in STEPS:
            needs = [need for need in decode_step(step) if need.count]
            total_us = 0.0
            for call in dict.fromkeys(need.workload for need in needs):
                latency_us = 3 + call.cost().streamed_bytes / 20e3
                wanted = [need for need in needs if need.workload == call]
                total_us += latency_us * sum(need.count for need in wanted)
                records.append(made(len(records), call, step, wanted, latency_us))
            whole = DecodeStep.of(step)
            records.append(made(len(records), whole, step, [Need("step", whole, 1)], total_us))
        Store(folder).append(records)

    return fill
