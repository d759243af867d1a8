"""Kernels of other engines: the physics, the fit, the evidence's bars, chips known by specification alone."""

import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from roofcast.harness import cli
from roofcast.harness.calibrate.interval import Z_80
from roofcast.harness.calibrate.kernels.calibration import (
    FITTED,
    HELD_OUT,
    SPECIFICATION,
    as_yaml,
    calls_of,
    doubt,
    evidence,
    fits,
    fits_to,
    fits_without,
    fits_without_each,
    learned_doubt,
    located,
)
from roofcast.harness.calibrate.kernels.effects import BASES, prior_of
from roofcast.harness.calibrate.kernels.fit import Fit, effects_in, fit, predict
from roofcast.harness.calibrate.kernels.physics import FLASH_ATTENTION_2, TERMS, TIMES, floor_us, libraries, work_of
from roofcast.harness.calibrate.kernels.rows import COUNTS, TEXTS, Rows
from roofcast.harness.facts.catalogue import names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.validation.kernels import Verdicts, score, validate

GPUS = [name for name in names("device") if device_named(name).kind == "gpu"]


@pytest.fixture(scope="module")
def unseen() -> Verdicts:
    """The evidence, each chip predicted from the others."""
    return validate(evidence().rows)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def rows(*given: dict) -> Rows:
    """Rows with the fields that are given, the others as in a bf16 GEMV of vLLM's on an H100."""
    usual = dict.fromkeys(COUNTS, 0.0) | {"n": 4096.0, "k": 4096.0, "latency_us": 10.0}
    usual |= {"chip": "h100", "op": "gemv", "framework": "vllm", "version": "", "dtype": "bfloat16", "kv_dtype": ""}
    full = [usual | one for one in given]
    columns = {name: np.array([one[name] for one in full]) for name in (*TEXTS, *COUNTS, "latency_us")}
    line = np.arange(len(full)) + 2
    return Rows(line, line.astype(str), **columns)


def attention(**changes) -> dict:
    shape = {"heads": 32.0, "kv_heads": 8.0, "head_dim": 128.0, "context": 8192.0, "n": 0.0, "k": 0.0}
    return {"op": "decode_attention", "kv_dtype": "bfloat16"} | shape | changes


def all_reduce(**changes) -> dict:
    return {"op": "all_reduce", "n": 8192.0, "k": 0.0, "n_gpus": 8.0} | changes


def times(op: str, given: Rows, **terms: float) -> np.ndarray:
    """The op's time under the terms' typical values, or others."""
    mine = located(given)[0]
    typical = {term: np.exp(BASES[op, term].mean) for term in TERMS[op]} | terms
    values = {term: np.full(len(given), value) for term, value in typical.items()}
    return TIMES[op](values, work_of(given, mine.chips), mine.chips)


def select(found: Verdicts, op: str, format: str = "", device: str = "") -> np.ndarray:
    mine = found.measured
    chosen = (mine.rows.op == op) & np.isin(mine.rows.format, [format] if format else np.unique(mine.rows.format))
    return chosen & np.isin(mine.device, [device] if device else np.unique(mine.device))


@pytest.mark.parametrize(
    ("op", "format", "bar"),
    [
        ("gemv", "bfloat16", 0.10),
        ("gemv", "fp8", 0.18),
        ("decode_attention", "", 0.18),
        ("decode_attention", "bfloat16", 0.18),
        ("decode_attention", "fp8", 0.18),
        ("all_reduce", "", 0.25),
    ],
)
def test_a_chip_left_out_is_predicted_as_well_as_we_say(unseen, op, format, bar):
    found = score(unseen, select(unseen, op, format))
    assert found.median <= bar
    assert 0.73 <= found.inside <= 0.87


@pytest.mark.parametrize("device", ["A100_SXM_80GB", "H100_SXM", "L40S"])
def test_no_chip_is_far_worse_than_the_bar(unseen, device):
    for op, bar in (("gemv", 0.15), ("decode_attention", 0.15), ("all_reduce", 0.25)):
        assert score(unseen, select(unseen, op, "bfloat16", device)).median <= bar


def test_every_row_of_the_evidence_is_predicted_without_its_chip(unseen):
    assert len(evidence().rows) == len(unseen.basis) == 11393
    assert set(unseen.basis) == {HELD_OUT}
    assert not unseen.refused
    for device in ("A100_SXM_80GB", "L40S"):
        assert not [effect for one in fits_without(device).values() for effect in one.effects if device in effect.level]


def test_nothing_beats_its_floor(unseen):
    mine = unseen.measured
    for op in TERMS:
        chosen = mine.rows.op == op
        some = mine[chosen]
        floor = floor_us(op, work_of(some.rows, some.chips), some.chips)
        assert (unseen.found.low[chosen] >= floor).all()
    found = unseen.found
    assert (found.low <= found.point).all()
    assert (found.point < found.high).all()


def test_the_generated_parameters_are_those_of_the_evidence():
    found, stored = fits_to(evidence()), fits()
    for op, one in found.items():
        calls = calls_of(some := evidence()[evidence().rows.op == op], op)
        assert len(some.rows) == len(calls.place)
        assert np.abs(predict(calls, one).time_us / predict(calls, stored[op]).time_us - 1).max() < 0.01
    learned = learned_doubt(evidence(), found, fits_without_each())
    for op in TERMS:
        assert doubt().scatter[op] == pytest.approx(learned.scatter[op], rel=0.02, abs=0.002)
        assert doubt().widening[op] == pytest.approx(learned.widening[op], rel=0.02, abs=0.002)
    assert as_yaml(found, learned).count("\n- {op:") == sum(len(one.effects) for one in found.values())


@pytest.mark.parametrize("op", list(TERMS))
def test_a_fit_finds_the_terms_that_made_the_times(op):
    known = evidence()[evidence().rows.op == op]
    calls = calls_of(known, op)
    effects = effects_in(calls)
    rng = np.random.default_rng(7)
    truth = np.array([prior_of(op, one).mean + 0.5 * prior_of(op, one).sd * rng.standard_normal() for one in effects])
    exact = predict(calls, Fit(op, effects, truth, np.zeros((len(effects), len(effects)))))
    noisy = exact.time_us * np.exp(0.02 * rng.standard_normal(len(exact.time_us)))
    noisy[::25] *= 3  # rows that are wrong must not drag the others along
    found = predict(calls, fit(calls, noisy))
    error = np.abs(np.log(found.time_us / exact.time_us))
    assert np.median(error) < 0.01
    assert np.percentile(error, 99) < 0.06


def test_what_is_not_seen_is_in_more_doubt():
    mine = {"framework": "an engine of mine"}
    asked = rows({}, {"chip": "H200"}, mine, mine | {"dtype": "nvfp4", "chip": "H200"})
    variance = predict(calls_of(located(asked)[0], "gemv"), fits()["gemv"]).log_variance
    assert variance[0] < variance[1] < variance[3]
    assert variance[0] < variance[2] < variance[3]


def test_a_large_gemv_takes_its_bytes_over_the_read_bandwidth():
    # 2 x 65536 x 32768 bytes at 3180 GB/s, and a tenth more for a loss of 0.1.
    stream_us = 2 * 65536 * 32768 / 3180e9 * 1e6 * 1.1
    (found,) = times("gemv", rows({"n": 65536.0, "k": 32768.0}), loss=0.1, walk=1e-9, start=1e-9)
    assert found == pytest.approx(stream_us, rel=1e-6)


def test_a_matrix_that_stays_in_the_cache_does_not_wait_for_memory():
    small, large = {"chip": "L40S", "n": 4096.0, "k": 1024.0}, {"chip": "L40S", "n": 4096.0, "k": 8192.0}
    held = times("gemv", rows(small, large), walk=1e-9, start=1e-9)
    speed = np.array([4096 * 1024, 4096 * 8192]) * 2 / held / 1e3
    assert speed[0] > 2 * 864
    assert speed[1] < 864


def test_serial_work_grows_with_the_square_root_of_the_length():
    walk = times("gemv", rows({"n": 1.0, "k": 1024.0}, {"n": 1.0, "k": 4096.0}), start=1e-9, walk=1000.0)
    assert walk[1] / walk[0] == pytest.approx(2, rel=1e-3)


def test_flash_attention_2_walks_whole_contexts_where_no_heads_are_shared():
    asked = rows(
        attention(chip="a100", kv_heads=32.0),
        attention(chip="a100"),
        attention(kv_heads=32.0),
        attention(chip="B200", kv_heads=32.0),
        attention(chip="L40S", framework="trtllm", kv_dtype="fp8"),
    )
    mine = located(asked)[0]
    assert work_of(asked, mine.chips).is_whole.tolist() == [True, False, False, False, True]
    assert work_of(asked, mine.chips, "L40S").is_whole.tolist() == [True, False, False, False, False]
    assert libraries(asked, mine.chips)[0] == FLASH_ATTENTION_2


def test_an_all_reduce_takes_the_faster_way():
    sizes = [2.0**exponent for exponent in range(10, 25)]
    found = times("all_reduce", rows(*(all_reduce(n=size) for size in sizes)))
    assert (np.diff(found) > 0).all()
    # Over 450 GB/s one way: two shots move 2 x 7/8 of 32 MB, one shot would move 7 times as much as all of it.
    two_us = 1.75 * 2 * sizes[-1] / 450e9 * 1e6
    assert two_us < found[-1] < 7 * 2 * sizes[-1] / 450e9 * 1e6
    switched, bus = times("all_reduce", rows(all_reduce(), all_reduce(chip="L40S")))
    assert bus > 3 * switched


@given(st.sampled_from(sorted(TERMS)), st.floats(1, 1e4), st.floats(1.1, 10))
def test_more_bytes_never_take_less_time(op, start, factor):
    bases = {"gemv": {}, "decode_attention": attention(), "all_reduce": all_reduce()}
    field = {"gemv": "n", "decode_attention": "context", "all_reduce": "n"}[op]
    pair = [bases[op] | {field: float(round(16 * start))}, bases[op] | {field: float(round(16 * start * factor))}]
    less, more = times(op, rows(*pair))
    assert 0 < less <= more


@pytest.mark.parametrize("name", GPUS)
def test_any_gpu_is_predicted_from_its_specification(name):
    shapes = [
        {},
        attention(),
        attention(kv_heads=32.0, kv_dtype="fp8"),
        all_reduce(),
        {"dtype": "nvfp4", "framework": "sglang"},
    ]
    found = validate(rows(*({**one, "chip": name} for one in shapes)))
    known = name in set(evidence().device)
    assert set(found.basis) == {FITTED if known else SPECIFICATION}
    numbers = np.stack([found.found.low, found.found.point, found.found.high])
    assert np.isfinite(numbers).all()
    assert (numbers > 0).all()
    assert (found.found.low < found.found.high).all()
    if not known:
        width = np.log(found.found.high / found.found.point) / Z_80
        assert (width > 0.04).all()


@pytest.mark.parametrize(
    ("label", "name"),
    [
        ("h200_sxm", "H200"),
        ("b200_sxm", "B200"),
        ("gb200", "GB200"),
        ("rtx4090", "RTX_4090"),
        ("NVIDIA A30", "A30"),
        ("l4", "L4"),
    ],
)
def test_a_chip_is_found_under_its_aliases(label, name):
    measured, known, reasons = located(rows({"chip": label}))
    assert known.all()
    assert measured.device.tolist() == [name]
    assert not reasons


def test_a_faster_memory_shortens_a_large_gemv():
    large = [{"chip": name, "n": 16384.0, "k": 16384.0} for name in ("L4", "L40S", "A30", "a100", "h100", "H200", "B200")]
    point = validate(rows(*large)).found.point
    assert (np.diff(point) < 0).all()


def test_bits_decide_the_bytes():
    given = rows({}, {"dtype": "int4_wo"}, {"dtype": "nvfp4"}, attention(kv_dtype="fp8"), all_reduce())
    assert given.bytes.tolist() == [2 * 4096**2, 4096**2 / 2, 4096**2 * 4.5 / 8, 2 * 8 * 128 * 8192, 16384]


def test_the_verb_shows_every_chip_op_and_format(capsys):
    assert cli.run(["validate", "kernels=own"]) == cli.OK
    shown = capsys.readouterr().out
    lines = [line.split() for line in shown.splitlines()]
    (all_bf16,) = [line for line in lines if line[:3] == ["all", "gemv", "bfloat16"]]
    assert all_bf16[3] == "2812"
    assert float(all_bf16[4]) <= 10
    assert sum(int(line[3]) for line in lines if line[:1] == ["all"]) == 11393
