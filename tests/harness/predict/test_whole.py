"""The whole step beside its kernels: which copies are measured, how they are scaled, and what remains."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.models import model_named
from roofcast.harness.predict.whole import Span, depths, whole
from roofcast.harness.report.table import show
from roofcast.harness.report.whole import whole_table
from roofcast.harness.steps.plan import Plan
from roofcast.harness.steps.workloads import decode_step, kv_bytes, weight_bytes
from roofcast.harness.store.record import Run, Subject
from roofcast.harness.sweep.bench import _drawing
from roofcast.kernels.model import Step, Window
from roofcast.kernels.op import Need
from roofcast.kernels.step import DecodeStep

LARGE = Step(model_named("llama-3.1-405b"), 2048)
SMALL = Step(model_named("llama-3.2-1b"), 2048)


def asked(step: Step) -> Plan:
    return Plan(step, decode_step(step), ())


@pytest.fixture
def timed(measurement):
    """Makes a measurement of a call with such a time, of such a run."""

    def make(workload, latency_us: float, run: str = "a", spread: float = 0.1):
        usual = measurement()
        low, high = latency_us * (1 - spread), latency_us * (1 + spread)
        statistics = replace(usual.statistics, latency_us=latency_us, latency_low_us=low, latency_high_us=high)
        subject = Subject.of(workload, "x.y", SMALL, (Need("role", workload, 1),))
        started_at = f"2026-01-0{ord(run) - 96}T00:00:00.000000+00:00"
        new_run = Run(run_id=run * 32, roofcast_version="0")
        return measurement(statistics=statistics, subject=subject, run=new_run, started_at=started_at)

    return make


def kernels_of(plan: Plan, timed, run: str = "a", latency_us: float = 10.0) -> list:
    return [timed(workload, latency_us, run) for workload in plan.calls(sorted({need.workload.op for need in plan.needs}))]


def test_all_layers_are_measured_where_they_fit() -> None:
    needs = decode_step(SMALL)
    size = weight_bytes(needs) + kv_bytes(needs)
    # Norms are no part of what is counted as weights.
    assert depths(asked(SMALL), 1.001 * size) == (16,)
    few, many = depths(asked(SMALL), 0.999 * size)
    assert few < many < 16


def test_another_librarys_step_is_not_taken_for_ours(timed) -> None:
    plan = asked(SMALL)
    ours, theirs = timed(DecodeStep.of(SMALL), 2500.0), timed(DecodeStep.of(SMALL), 1000.0, "b")
    theirs = replace(theirs, subject=replace(theirs.subject, implementation="peers.llama_cpp"))
    found = whole([*kernels_of(plan, timed), ours, theirs], plan)
    assert found is not None
    assert found.step is not None
    assert found.step.us == 2500.0
    assert found.same_run
    assert whole([theirs], plan) is None


def test_two_depths_are_measured_where_the_model_does_not_fit() -> None:
    few, many = depths(asked(LARGE), 100e9)
    assert few == many // 2 > 1
    sizes = [sum(one.nbytes for one in DecodeStep.of(LARGE, n).composition.arrays().values()) for n in (few, many)]
    assert 80e9 < sum(sizes) <= 100e9
    # However little there is, two depths separate the layers from what stands around them.
    assert depths(asked(LARGE), 0) == (1, 2)


def test_depths_are_whole_periods_of_the_window() -> None:
    few, many = depths(asked(Step(model_named("gemma-3-27b"), 2048)), 40e9)
    assert few % 6 == many % 6 == 0
    assert 0 < few < many < 62


@pytest.mark.parametrize(
    ("name", "bottom", "period"), [("deepseek-v3-671b", 3, 1), ("llama-4-maverick", 0, 4), ("gpt-oss-120b", 0, 2)]
)
def test_depths_are_whole_periods_above_the_dense_layers_at_the_bottom(name: str, bottom: int, period: int) -> None:
    step = Step(model_named(name), 2048)
    assert depths(asked(step), 0) == (bottom + period, bottom + 2 * period)
    few, many = depths(asked(step), 200e9)
    assert bottom < few < many < step.model.layers
    assert (few - bottom) % period == (many - bottom) % period == 0


def test_the_remainder_is_the_step_without_its_kernels(timed) -> None:
    plan = asked(SMALL)
    calls = sum(need.count for need in plan.needs)
    found = whole([*kernels_of(plan, timed), timed(DecodeStep.of(SMALL), 2500.0)], plan)
    assert found is not None
    assert found.step == Span(2250.0, 2500.0, 2750.0)
    assert found.kernels == Span(9.0 * calls, 10.0 * calls, 11.0 * calls)
    assert found.remainder == Span(2250.0 - 11.0 * calls, 2500.0 - 10.0 * calls, 2750.0 - 9.0 * calls)
    assert found.same_run
    table = whole_table(found, plan)
    assert [row[0] for row in table.rows] == ["whole step", "sum of kernels", "remainder"]
    assert calls == 164
    assert table.rows[2][1:] == ["860", "446", "1,274", "34%"]
    assert "all 16 layers in one compiled program" in table.notes[0]


def test_fewer_layers_are_scaled_along_a_line_and_labelled(timed, capsys: pytest.CaptureFixture[str]) -> None:
    plan = asked(SMALL)
    shallow, deep = (timed(DecodeStep.of(SMALL, layers), 100.0 + 50 * layers, spread=0.01) for layers in (2, 4))
    found = whole([shallow, deep], plan)
    assert found is not None
    assert found.step is not None
    assert found.step.us == pytest.approx(100 + 50 * 16)
    # The worst case lets one depth be slow while the other is fast.
    assert found.step.low_us == pytest.approx(297 + 6 * (297 - 202))
    assert found.step.high_us == pytest.approx(303 + 6 * (303 - 198))
    assert found.remainder is None
    show(whole_table(found, plan))
    text = capsys.readouterr().out
    assert "2 and 4 of 16 layers, scaled" in text
    assert "not measured: activation, attention, cache, embedding, gemv, norm, rope, sampling" in text


def test_more_layers_are_never_faster_than_fewer(timed) -> None:
    shallow, deep = (timed(DecodeStep.of(SMALL, layers), 100.0 + layers, spread=0.1) for layers in (2, 4))
    found = whole([shallow, deep], asked(SMALL))
    assert found is not None
    assert found.step is not None
    assert found.step.low_us == pytest.approx(104 * 0.9)


def test_one_copy_of_fewer_layers_says_nothing_of_the_rest(timed) -> None:
    plan = asked(SMALL)
    found = whole([timed(DecodeStep.of(SMALL, 4), 300.0)], plan)
    assert found is not None
    assert (found.step, found.depths) == (None, (4,))
    assert "cannot be scaled" in whole_table(found, plan).notes[0]


def test_the_newest_run_of_the_step_counts_and_other_runs_are_named(timed) -> None:
    plan = asked(SMALL)
    older = [timed(DecodeStep.of(SMALL, layers), 100.0, "a") for layers in (2, 16)]
    newer = [timed(DecodeStep.of(SMALL, layers), 50.0 * layers, "b") for layers in (4, 8)]
    found = whole([*kernels_of(plan, timed, "a"), *older, *newer], plan)
    assert found is not None
    assert found.depths == (4, 8)
    assert found.step is not None
    assert found.step.us == pytest.approx(800)
    assert not found.same_run
    assert any("other runs than the step" in note for note in whole_table(found, plan).notes)


def test_without_a_timed_step_there_is_no_table(timed) -> None:
    assert whole(kernels_of(asked(SMALL), timed), asked(SMALL)) is None


def test_a_step_that_cannot_be_composed_is_refused() -> None:
    step = Step(replace(model_named("bloom-176b"), window=Window(size=128)), 2048)
    with pytest.raises(
        UsageError, match="model must be one that a whole step is composed for; got bloom-176b, which has alibi"
    ):
        depths(asked(step), 1e12)


def test_an_encoders_pass_stands_alone(timed) -> None:
    bert = Plan(Step(model_named("bert-large"), 512), (), ())
    assert depths(bert, 1e12) == (24,)
    (one,) = bert.steps((24,))
    found = whole([timed(one, 900.0)], bert)
    assert found is not None
    assert (found.step, found.kernels, found.remainder) == (Span(900 * 0.9, 900.0, 900 * 1.1), None, None)
    table = whole_table(found, bert)
    assert [row[0] for row in table.rows] == ["forward pass"]
    assert table.title.startswith("Forward pass of bert-large at context 512")


def test_an_encoders_pass_is_measured_by_the_kernel_step(tmp_path: Path, small_machine: str) -> None:
    small = ("model=bert-base", "model.layers=1", "model.vocab=100", "context=8")
    quick = ("timing=quick", "timing.budget_s=1", "timing.min_samples=3", "timing.precision=0.5")
    line = [sys.executable, "-m", "roofcast.harness", "bench", "kernel=step", *small, *quick]
    environment = os.environ | {"PYTHONPATH": small_machine}
    done = subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert "Forward pass of bert-base at context 8" in done.stdout
    assert "tok/s" not in done.stdout


def test_weights_without_a_step_are_refused() -> None:
    with pytest.raises(UsageError, match="weights must be null unless the whole step"):
        _drawing("folder", [])
    with pytest.raises(UsageError, match=r"weights must be a folder with \*.safetensors files; got 'nowhere'"):
        _drawing("nowhere", [DecodeStep.of(SMALL)])


def test_a_users_weights_are_measured_and_recalled(tmp_path: Path, small_machine: str) -> None:
    config = {
        "architectures": ["LlamaForCausalLM"], "num_hidden_layers": 1, "hidden_size": 32, "num_attention_heads": 2,
        "num_key_value_heads": 1, "intermediate_size": 48, "vocab_size": 64, "max_position_embeddings": 64,
        "tie_word_embeddings": True, "rope_theta": 500000.0,
    }  # fmt: skip
    (tmp_path / "config.json").write_text(json.dumps(config))
    layer = "model.layers.0"
    shapes = {f"{layer}.self_attn.{name}_proj": (rows, 32) for name, rows in (("q", 32), ("k", 16), ("v", 16), ("o", 32))}
    shapes |= {f"{layer}.mlp.{name}_proj": shape for name, shape in (("gate", (48, 32)), ("up", (48, 32)), ("down", (32, 48)))}
    shapes |= dict.fromkeys((f"{layer}.input_layernorm", f"{layer}.post_attention_layernorm", "model.norm"), (32,))
    shapes["model.embed_tokens"] = (64, 32)
    generator, header, data = np.random.default_rng(0), {}, b""
    for name, shape in shapes.items():
        values = generator.standard_normal(shape, np.float32).tobytes()
        header[f"{name}.weight"] = {"dtype": "F32", "shape": shape, "data_offsets": (len(data), len(data) + len(values))}
        data += values
    text = json.dumps(header).encode()
    (tmp_path / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + data)

    def roofcast(*arguments: str) -> subprocess.CompletedProcess[str]:
        line = [sys.executable, "-m", "roofcast.harness", *arguments, "model=config.json", "format=f32", "context=8"]
        environment = os.environ | {"PYTHONPATH": small_machine}
        return subprocess.run(line, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300, check=False)

    quick = ("timing=quick", "timing.budget_s=1", "timing.min_samples=3", "timing.precision=0.5")
    done = roofcast("bench", "kernel.ops=[step]", "weights=.", *quick)
    assert done.returncode == 0, done.stderr
    assert "rope_theta is 500000.0, and 10000.0 here" in done.stderr
    recalled = roofcast("table")
    for text in (done.stdout, recalled.stdout):
        assert "Whole step of" in text
        assert "all 1 layers in one compiled program" in text
        assert "no sum of kernels: not measured: activation" in text
