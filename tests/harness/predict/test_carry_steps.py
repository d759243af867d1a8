"""Steps on machines: sums, floors, refusals, all-reduces, serial layers."""

import math
from dataclasses import replace

import pytest
from roofcast.harness.calibrate.efficiency import Evidence
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.models import model_named
from roofcast.harness.predict.carry import carried, measured_here, reduces_per_layer
from roofcast.harness.steps.workloads import decode_step, step_cost
from roofcast.kernels.model import Step
from roofcast.kernels.op import Workload

READ_GBS = 20.0
H100, WAFER = device_named("H100_SXM"), device_named("WSE-3_CS-3")


def perfect(step: Step) -> dict[Workload, Evidence]:
    """Evidence of kernels that run at their floor here, and take 1 us where nothing streams."""
    found = {}
    for need in decode_step(step):
        floor_us = need.workload.cost().streamed_bytes / READ_GBS / 1e3
        time_us, start_us = max(1.0, floor_us), 0.0 if floor_us else 1.0
        found[need.workload] = Evidence(need.workload, time_us, time_us, time_us, READ_GBS, 1e11, start_us)
    return found


def step_of(model: str, context: int = 2048) -> Step:
    return Step(model_named(model), context)


def test_this_machine_is_the_sum_of_its_kernels() -> None:
    step = step_of("llama-3.2-1b")
    needs, known = decode_step(step), perfect(step)
    found = measured_here(needs, known, dict.fromkeys(known, "memory"), 24.0)
    assert found.tpot_us == pytest.approx(sum(need.count * known[need.workload].latency_us for need in needs if need.count))
    assert sum(found.parts_us.values()) == pytest.approx(found.tpot_us)
    assert found.bound == "memory"
    low, point, high = found.tokens_per_s
    assert [low, point, high] == pytest.approx([1e6 / found.tpot_us] * 3)


@pytest.mark.parametrize(
    "model", ["llama-3.2-1b", "llama-3.1-8b", "mixtral-8x7b", "deepseek-v2-236b", "gemma-2-9b", "t5-large"]
)
@pytest.mark.parametrize("devices", [1, 8])
def test_no_point_or_bound_beats_the_step_s_own_floor(model: str, devices: int) -> None:
    step = step_of(model, 512)
    needs = decode_step(step)
    found = carried(needs, perfect(step), H100, devices, step.model)
    if found.refusal:
        assert found.needed_gb > H100.capacity_gb * devices
        return
    floor_us = step_cost(needs).streamed_bytes / devices / H100.main.bandwidth_gbs.value / 1e3
    assert floor_us <= found.tpot_low_us <= found.tpot_us <= found.tpot_high_us


def test_what_does_not_fit_is_said_with_how_many_would() -> None:
    step = step_of("gpt3-175b")
    found = carried(decode_step(step), perfect(step), H100, 1, step.model)
    assert found.refusal == "does not fit: 358.8 GB in 80 GB; needs 5 devices"
    assert not found.tpot_us
    wafer = carried(decode_step(step), perfect(step), WAFER, 1, step.model)
    assert "needs 9 devices" in wafer.refusal


def test_heads_are_shared_whole_and_a_lone_one_is_kept_by_every_chip() -> None:
    step = step_of("llama-3.1-8b", 8192)
    needs, known = decode_step(step), perfect(step)
    spent = {count: carried(needs, known, H100, count, step.model).parts_us["attention"] for count in (4, 5, 8)}
    assert spent[5] == spent[4] > spent[8]


def test_chips_share_the_matrices_of_experts() -> None:
    step = step_of("mixtral-8x7b")
    spent = {count: carried(decode_step(step), perfect(step), H100, count, step.model).parts_us["experts"] for count in (2, 4)}
    assert spent[4] < 0.6 * spent[2]


def test_a_time_that_may_be_nothing_is_no_crash() -> None:
    step = step_of("llama-3.2-1b")
    known = {workload: replace(one, low_us=0.0, high_us=math.inf) for workload, one in perfect(step).items()}
    found = measured_here(decode_step(step), known, dict.fromkeys(known, "memory"), 24.0)
    assert found.tokens_per_s == (0.0, 1e6 / found.tpot_us, math.inf)


def test_tensor_parallel_waits_for_two_all_reduces_a_layer() -> None:
    step = step_of("llama-3.1-8b")
    found = carried(decode_step(step), perfect(step), H100, 8, step.model)
    assert H100.allreduce_us is not None
    assert found.parts_us["all-reduce"] == pytest.approx(2 * 32 * H100.allreduce_us.value)
    assert found.notes


def test_a_wafer_is_never_faster_than_its_layers() -> None:
    step = step_of("llama-3.1-8b")
    found = carried(decode_step(step), perfect(step), WAFER, 1, step.model)
    assert WAFER.layer_us is not None
    assert found.tpot_us == pytest.approx(32 * WAFER.layer_us.value)
    assert found.bound == "latency"
    assert found.tokens_per_s[0] < 1800 < found.tokens_per_s[2]


def test_several_of_a_machine_without_a_known_all_reduce_are_refused() -> None:
    step = step_of("llama-3.2-1b")
    alone = replace(H100, allreduce_us=None)
    assert "no all-reduce latency" in carried(decode_step(step), perfect(step), alone, 2, step.model).refusal


def test_a_step_with_an_unmeasured_kernel_is_refused_by_name() -> None:
    step = step_of("llama-3.2-1b")
    needs = decode_step(step)
    known = {workload: one for workload, one in perfect(step).items() if workload.op != "attention"}
    assert carried(needs, known, H100, 1, step.model).refusal == "not measured here: attention"
    assert measured_here(needs, known, {}, 24.0).refusal == "not measured: attention"


def test_several_beyond_one_node_are_refused() -> None:
    step = step_of("llama-3.1-8b")
    assert "within a node of 8 only" in carried(decode_step(step), perfect(step), H100, 16, step.model).refusal


def test_the_bound_is_what_most_of_the_time_goes_to() -> None:
    step = step_of("llama-3.1-8b")
    # Half of the bandwidth is slow streaming, not latency.
    slow = {
        workload: replace(one, low_us=2 * one.low_us, latency_us=2 * one.latency_us, high_us=2 * one.high_us, fraction=0.5)
        for workload, one in perfect(step).items()
    }
    assert carried(decode_step(step), slow, H100, 1, step.model).bound == "memory"
    assert carried(decode_step(step), perfect(step), H100, 8, step.model).bound == "latency"


@pytest.mark.parametrize(("name", "count"), [("llama-3.1-8b", 2), ("falcon-180b", 1), ("t5-3b", 3)])
def test_a_layer_waits_once_per_residual_add(name: str, count: int) -> None:
    assert reduces_per_layer(model_named(name)) == count
