"""The list of calls of a fused step beside that of a plain one."""

from dataclasses import replace

import pytest
from roofcast.harness.facts import catalogue
from roofcast.harness.facts.models import model_named
from roofcast.harness.steps import workloads
from roofcast.harness.steps.workloads import (
    decode_step,
    resident_elements,
    step_cost,
    streamed_weight_elements,
)
from roofcast.kernels.model import Step


@pytest.mark.parametrize("name", catalogue.names("model"))
def test_fusing_moves_work_between_calls_and_loses_none(name: str) -> None:
    step = Step(model=model_named(name), context=512)
    alone, fused = workloads.calls(step), workloads.calls(replace(step, fused=True))
    assert resident_elements(fused) == resident_elements(alone)
    assert streamed_weight_elements(fused) == streamed_weight_elements(alone)
    before, after = step_cost(alone), step_cost(fused)
    # In a parallel block two outputs are added to the stream, of which the list of norms has one.
    is_second = step.model.parallel_block and replace(step, fused=True).fuses_norms
    second_add = step.model.layers * step.model.d_model if is_second else 0
    assert after.flops == before.flops + second_add
    assert after.calls <= before.calls
    assert after.hot_bytes <= before.hot_bytes


def test_a_fused_layer_is_five_calls_around_attention() -> None:
    step = Step(model=model_named("llama-3.2-1b"), context=512, fused=True)
    labels = {need.role: need.workload.label for need in decode_step(step) if need.count == 16}
    assert labels == {
        "qkv": "gemv 3072x2048 bf16 + rmsnorm",
        "rope": "rope 40x64",
        "cache_update": "cache 8x512x64 bf16",
        "attention": "attention 32/8x64 context 512 bf16",
        "attention_out": "gemv 2048x2048 bf16 + residual",
        "ffn_gate_up": "gemv 16384x2048 bf16 + rmsnorm + silu gate",
        "ffn_down": "gemv 2048x8192 bf16 + residual",
    }
