"""This machine's kernels: the fit finds what made the times, is physical, and foretells whole steps that it has not seen."""

import json
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness import cli
from roofcast.harness.calibrate.kernels.fit import fit, predict
from roofcast.harness.calibrate.own.calibration import Own, step_time
from roofcast.harness.calibrate.own.evidence import Conditions, beside, calls_of, rows_of, usual
from roofcast.harness.calibrate.own.physics import CALL, TERMS, Rates, Work, floor_us, time_us
from roofcast.harness.calibrate.own.reached import evidence
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.models import model_named
from roofcast.harness.host.host import fingerprint
from roofcast.harness.steps.workloads import decode_step
from roofcast.harness.store.record import Measurement, Run, Subject
from roofcast.harness.store.store import Store
from roofcast.harness.validation.steps import verdicts
from roofcast.harness.words import figure
from roofcast.kernels.gemv import Gemv
from roofcast.kernels.model import Formats, Step
from roofcast.kernels.op import Need, Workload
from roofcast.kernels.step import DecodeStep

TRUTH = {"start": 2.0, "loss": 0.06, "element": 6.0, "pass": 8.0}
MODELS = ("llama-3.2-1b", "qwen3-0.6b", "llama-3.1-8b")
MAKE = Callable[..., Measurement]


def true_us(calls: Iterable[Workload], now: Conditions, footprint: float, dispatches: float) -> np.ndarray:
    """What the calls take on a machine of which everything is known."""
    each = list(calls)
    made = calls_of(each, [now] * len(each), [footprint] * len(each), [dispatches] * len(each))
    return time_us({name: np.full(len(each), value) for name, value in TRUTH.items()}, made.work, made.chips)


@pytest.fixture
def timed(measurement) -> MAKE:
    """Makes a measurement of a call on that machine, whose memory was as fast as asked meanwhile."""

    def make(
        call: Workload, step: Step, run: str = "a", read_gbs: float = 20.0, latency_us: float | None = None
    ) -> Measurement:
        usual = measurement()
        timing = replace(
            usual.timing,
            method="compiled loop of 2 calls",
            pool_bytes=2e8,
            read_probe_gbs=(read_gbs, read_gbs),
            calm=(True, True),
        )
        one = measurement(
            host=fingerprint(),
            subject=Subject.of(call, "cpu.numba", step, (Need("role", call, 1),)),
            run=Run(run_id=run * 32, roofcast_version="0"),
            timing=timing,
            record_id=f"{abs(hash((call, run))):032x}"[:32],
        )
        told = latency_us or float(true_us([call], beside(one), 2e8, 0.5)[0])
        spread = {"latency_us": told, "latency_low_us": 0.99 * told, "latency_high_us": 1.01 * told, "disturbance": 0.0}
        return replace(one, statistics=replace(one.statistics, **spread))

    return make


def kernels(name: str, timed: MAKE, weight: str = "bf16", **how) -> list[Measurement]:
    """Every kernel of a model, measured once."""
    step = Step(model_named(name), 512, Formats(weight=weight))
    return [timed(call, step, **how) for call in dict.fromkeys(need.workload for need in decode_step(step) if need.count)]


def whole(name: str, timed: MAKE, weight: str = "bf16") -> Measurement:
    """The whole step of a model, as long as its kernels and its one dispatch take."""
    step = Step(model_named(name), 512, Formats(weight=weight))
    called = [need for need in decode_step(step) if need.count]
    count = np.array([need.count for need in called])
    now = beside(timed(called[0].workload, step))
    latency_us = count @ true_us([need.workload for need in called], now, 2e8, 0.0) + now.dispatch_us
    return timed(DecodeStep.of(step), step, latency_us=float(latency_us))


def test_a_fit_finds_the_terms_that_made_the_times(timed: MAKE) -> None:
    noise = np.random.default_rng(5)
    seen = [
        one for run, gbs in (("a", 20.0), ("b", 35.0)) for name in MODELS for one in kernels(name, timed, run=run, read_gbs=gbs)
    ]
    rows = rows_of(seen)
    found = fit(rows.calls, rows.latency_us * np.exp(0.01 * noise.standard_normal(len(rows.latency_us))), rows.noise)
    assert np.abs(predict(rows.calls, found).time_us / rows.latency_us - 1).max() < 0.05
    unseen = rows_of(kernels("llama-3.2-3b", timed, read_gbs=28.0))
    told = predict(unseen.calls, found)
    assert np.abs(told.time_us / unseen.latency_us - 1).max() < 0.05
    assert np.isfinite(told.log_variance).all()
    assert (np.linalg.eigvalsh(found.covariance) > 0).all()


def test_one_disturbed_measurement_among_many_changes_little(timed: MAKE) -> None:
    seen = [one for name in MODELS for one in kernels(name, timed)]
    clean = Own.of(seen)
    place = next(i for i, one in enumerate(seen) if one.subject.role and one.subject.op == "gemv")
    statistics = seen[place].statistics
    assert statistics is not None
    seen[place] = replace(seen[place], statistics=replace(statistics, latency_us=5 * statistics.latency_us, disturbance=0.5))
    needs, (now, drift) = decode_step(Step(model_named("llama-3.2-3b"), 512)), usual(seen)
    times = [step_time(own, needs, now, drift).time_us.point for own in (clean, Own.of(seen))]
    assert times[1] == pytest.approx(times[0], rel=0.03)


@given(
    st.lists(st.floats(1e-3, 1e3), min_size=4, max_size=4),
    st.lists(st.floats(0, 1e9), min_size=2, max_size=2),
    st.floats(0, 1e9),
)
def test_more_bytes_take_longer_and_nothing_beats_a_plain_read(terms, streamed, hot) -> None:
    values = {name: np.full(2, value) for name, value in zip(TERMS[CALL], terms, strict=True)}
    rates = Rates(*(np.full(2, rate) for rate in (20.0, 80.0, 100.0, 7.0)))
    size = np.sort(np.array(streamed))
    for work in (Work(size, size / 2, np.full(2, hot), np.zeros(2)), Work(np.full(2, hot), np.full(2, hot), size, np.zeros(2))):
        time = time_us(values, work, rates)
        assert time[0] <= time[1]
        assert (time >= floor_us(work, rates)).all()


def test_what_is_larger_than_a_cache_is_read_no_faster() -> None:
    now = Conditions(20.0, 100.0, (6e4, 2e6, 3e7), (200.0, 100.0, 15.0), 7.0)
    rates = [now.gbs_of(size) for size in (1e4, 1e6, 2e7, 1e9)]
    assert rates == [200.0, 100.0, 20.0, 20.0]


def test_only_the_newest_code_of_a_kind_counts(timed: MAKE) -> None:
    old, new = (kernels("qwen3-0.6b", timed, run=run) for run in "ab")
    gemvs = [replace(one, run=replace(one.run, git_commit="2"), started_at="2027") for one in new if one.subject.op == "gemv"]
    rows = rows_of([*old, *gemvs])
    assert {one.run.run_id[0] for one in rows.records if one.subject.op == "gemv"} == {"b"}
    assert {one.run.run_id[0] for one in rows.records if one.subject.op != "gemv"} == {"a"}


@pytest.mark.parametrize("weight", ["bf16", "int8", "int4"])
def test_a_step_is_foretold_from_the_kernels_of_other_models(timed: MAKE, weight: str) -> None:
    others = [one for name in MODELS[1:] for one in kernels(name, timed, weight)]
    (found,) = verdicts([*others, *kernels(MODELS[0], timed, weight), whole(MODELS[0], timed, weight)], leave_out=True)
    assert found.kernels == len(rows_of(others).records)
    assert abs(found.error) < 0.05
    assert found.is_inside
    assert sum(found.found.parts_us.values()) == pytest.approx(found.found.time_us.point)
    assert sum(found.found.doubts.values()) == pytest.approx(1.0, abs=0.05)
    (itself,) = verdicts([*kernels(MODELS[0], timed, weight), whole(MODELS[0], timed, weight)], leave_out=False)
    assert abs(itself.error) < 0.05
    assert itself.sum_us == pytest.approx(itself.measured_us.point, rel=0.02)
    assert found.sum_us == itself.sum_us


def test_what_was_not_measured_widens_the_interval(timed: MAKE) -> None:
    seen = [one for name in MODELS for one in kernels(name, timed)]
    needs, (now, _) = decode_step(Step(model_named("llama-3.2-1b"), 512)), usual(seen)
    known = step_time(Own.of(seen), needs, now)
    blind = step_time(Own.of([one for one in seen if one.subject.op != "attention"]), needs, now)
    assert blind.unmeasured == ("attention bf16",)
    assert known.unmeasured == ()
    assert blind.time_us.high / blind.time_us.low > known.time_us.high / known.time_us.low
    assert known.floor_us <= known.time_us.low


def test_steps_need_kernels_and_a_step(timed: MAKE) -> None:
    with pytest.raises(UsageError, match="roofcast bench kernel=step"):
        verdicts(kernels("qwen3-0.6b", timed), leave_out=False)
    with pytest.raises(UsageError, match="another model than qwen3"):
        verdicts([*kernels("qwen3-0.6b", timed), whole("qwen3-0.6b", timed)], leave_out=True)


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    return tmp_path


def test_predict_says_which_command_measures_what_it_lacks(elsewhere: Path, timed: MAKE, capsys) -> None:
    asked = ["predict", "device=here", "model=qwen3-0.6b", "results=r"]
    assert cli.run(asked) == cli.USAGE
    assert "run roofcast bench first" in capsys.readouterr().err
    Store(elsewhere / "r").append(kernels("llama-3.2-1b", timed))
    assert cli.run([*asked, "format=int4"]) == cli.USAGE
    assert "run roofcast bench model=qwen3-0.6b format=int4 first" in capsys.readouterr().err
    for extra, word in (("engine=vllm", "engine"), ("devices=2", "devices"), ("model=llama-3.1-405b", "does not fit")):
        assert cli.run([*asked, extra]) == cli.USAGE
        assert word in capsys.readouterr().err


def test_predict_and_validate_answer_from_the_store(elsewhere: Path, timed: MAKE, capsys) -> None:
    Store(elsewhere / "r").append([*kernels("llama-3.2-1b", timed), whole("qwen3-0.6b", timed)])
    assert cli.run(["predict", "device=here", "model=qwen3-0.6b", "context=512", "results=r", "output=a.json"]) == cli.OK
    (answer,) = json.loads((elsewhere / "a.json").read_text())
    assert answer["basis"] == "fitted on this machine's kernels"
    assert answer["tokens_per_s_low"] < answer["tokens_per_s"] < answer["tokens_per_s_high"] <= answer["ceiling_tokens_per_s"]
    assert cli.run(["validate", "steps=unseen", "results=r", "rows=s.csv"]) == cli.OK
    assert "qwen3-0.6b" in capsys.readouterr().out
    header, row = (elsewhere / "s.csv").read_text().splitlines()
    found = dict(zip(header.split(","), row.split(","), strict=True))
    assert float(found["predicted_us"]) == pytest.approx(1e3 * answer["tpot_ms"], rel=1e-3)
    assert abs(float(found["error"])) < 0.1


def test_a_gemv_counts_what_streams() -> None:
    now = Conditions(20.0, 100.0, (), (), 7.0)
    calls = calls_of([Gemv(n=4096, k=2048, weight_format="int8")], [now], [1e9], [0.0])
    assert calls.work.elements[0] == 4096 * 2048
    assert calls.work.streamed[0] == Gemv(n=4096, k=2048, weight_format="int8").cost().streamed_bytes


def test_what_a_kernel_reaches_is_carried_whatever_code_measured_it(timed: MAKE) -> None:
    seen = kernels("qwen3-0.6b", timed)
    seen[-2] = replace(seen[-2], run=replace(seen[-2].run, git_commit="2"), started_at="2027")
    assert seen[-2].subject.op == "gemv"
    found = evidence({one.subject.workload: one for one in seen})
    assert len(found) == len(seen)
    for one in found.values():
        assert 0 < one.fraction <= 1
        assert one.start_us > 0
        told = one.start_us + one.workload.cost().streamed_bytes / (one.fraction * one.read_gbs) / 1e3
        assert told == pytest.approx(one.latency_us, rel=0.35)


def test_a_specification_alone_is_widened_by_what_kernels_reach_here(elsewhere: Path, timed: MAKE) -> None:
    said = 'source: "x", date: "2026-11", basis: datasheet'
    memory = f"bandwidth_gbs: {{value: 200.0, {said}}}, capacity_gb: {{value: 64.0, {said}}}"
    (elsewhere / "chip.yaml").write_text(f"name: chip\nkind: accelerator\nmemories: {{dram: {{{memory}}}}}\nweights_in: dram\n")
    asked = ["predict", "device=chip.yaml", "model=llama-3.2-1b", "context=512", "price=1", "results=r", "output=a.json"]

    def answer() -> dict:
        assert cli.run(asked) == cli.OK
        (found,) = json.loads((elsewhere / "a.json").read_text())
        assert found["basis"] == "specification"
        return found

    alone = answer()
    fast = [one for name in MODELS for one in kernels(name, timed, read_gbs=2.0)]
    Store(elsewhere / "r").append(fast)
    held = answer()
    assert held["tokens_per_s"] == alone["tokens_per_s"]
    assert held["tokens_per_s_high"] > alone["tokens_per_s_high"]
    assert held["tokens_per_s_high"] <= held["ceiling_tokens_per_s"]
    assert held["cost_per_million_tokens_low"] < alone["cost_per_million_tokens_low"]
    assert "this machine's kernels reach" in " ".join(held["notes"])


def test_the_table_says_what_predict_says_and_why_they_differ(elsewhere: Path, timed: MAKE, capsys) -> None:
    Store(elsewhere / "r").append(kernels("qwen3-0.6b", timed))
    assert cli.run(["table", "model=qwen3-0.6b", "context=512", "device=h100", "results=r"]) == cli.OK
    table = capsys.readouterr().out
    assert cli.run(["predict", "model=qwen3-0.6b", "context=512", "device=h100", "devices=1", "output=a.json"]) == cli.OK
    (answer,) = json.loads((elsewhere / "a.json").read_text())
    point, low, high = (figure(answer[f"tokens_per_s{end}"]) for end in ("", "_low", "_high"))
    assert f"{point} ({low} to {high})" in table
    assert "the row carries our kernels" in table
    assert cli.run(["table", "model=qwen3-0.6b", "context=512", "device=here", "results=r"]) == cli.OK
    assert "predict says:" not in capsys.readouterr().out
