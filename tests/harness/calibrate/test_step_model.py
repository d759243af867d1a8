"""The decode model: its physics on known situations, its fit on situations with known parameters."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from roofcast.harness.calibrate.cross_validation import folds, held_out
from roofcast.harness.calibrate.decode import calibration, speeds
from roofcast.harness.calibrate.effects import Effect, prior_of
from roofcast.harness.calibrate.engine import Engine
from roofcast.harness.calibrate.interval import Z_80, huber, scatter_of
from roofcast.harness.calibrate.machines import anatomy, effects_of
from roofcast.harness.calibrate.machines.term import TERMS
from roofcast.harness.calibrate.runs import Runs
from roofcast.harness.calibrate.situation import Situation
from roofcast.harness.calibrate.step_model import design, fit, predict, prior
from roofcast.harness.errors import UsageError
from roofcast.harness.facts.catalogue import facts, names
from roofcast.harness.facts.devices import device_named
from roofcast.harness.facts.models import model_from

ENGINES = tuple(Engine(name, narrow_head=True) for name in ("one", "two", "three"))
MACHINES = ("A100_SXM_80GB", "H100_SXM", "RTX_4090", "MI300X", "Apple_M2_Ultra", "TPU_v5e")
MODELS = ("llama-2-7b", "llama-3-8b", "qwen3-14b", "qwen3-32b", "llama-3-70b", "mixtral-8x7b", "qwen3-30b-a3b")


def run_of(device: str = "H100_SXM", model: str = "llama-3-8b", chips: int = 1, bits: float = 16.0, **more) -> Situation:
    shape = model_from(facts("model", model), model)
    return Situation(device_named(device), chips, more.pop("engine", ENGINES[0]), shape, bits, **more)


def time_us(run: Situation) -> float:
    """By the project's calibration."""
    return float(1e6 / speeds(calibration(), Runs.of([run])).point[0])


def amounts_us(run: Situation) -> dict[str, float]:
    """Of the terms that the run has."""
    found = anatomy(Runs.of([run]))
    return {term: float(amount[0]) for term, amount in zip(TERMS, found.amount_us, strict=True) if amount[0]}


def effects(run: Situation) -> set[Effect]:
    (at,) = anatomy(Runs.of([run])).conditions
    return {effect for one in effects_of(at).values() for effect in one}


def faster(run: Situation, factor: float) -> Situation:
    """The same with all memory `factor` times as fast."""

    def scaled(memory):
        quantity = memory.bandwidth_gbs
        more = dataclasses.replace(quantity, value=quantity.value * factor, low=None, high=None)
        return dataclasses.replace(memory, bandwidth_gbs=more)

    memories = tuple(scaled(memory) for memory in run.device.memories)
    return dataclasses.replace(run, device=dataclasses.replace(run.device, memories=memories))


@pytest.fixture(scope="module")
def synthetic():
    """Situations, the truth that their times follow, and times with 5 % of scatter."""
    random = np.random.default_rng(7)
    runs = [
        run_of(device, model, chips, bits, engine=engine)
        for device in MACHINES
        for model in MODELS
        for engine in ENGINES
        for chips, bits in ((1, 16.0), (4, 8.0))
        if random.random() < 0.8
    ]
    runs = Runs.of(runs)
    whole = design(runs)
    before = prior(whole.effects)
    truth = before.mean + 0.7 * np.sqrt(np.diag(before.covariance)) * random.standard_normal(len(before.mean))
    exact = predict(whole, dataclasses.replace(before, mean=truth)).time_us
    return runs, truth, exact, exact * np.exp(0.05 * random.standard_normal(len(runs)))


@pytest.mark.parametrize("name", sorted(set(names("device")) - {"WSE-1_CS-1"}))
@pytest.mark.parametrize("model", ["llama-3-8b", "gpt-oss-120b"])
def test_no_prediction_on_any_machine_beats_its_floor(name, model):
    run = run_of(name, model, chips=2, bits=4.5)
    found = speeds(calibration(), Runs.of([run]))
    assert 0 < found.low[0] < found.point[0] <= found.high[0] <= 1e6 / run.floor_us


@given(st.sampled_from(MACHINES), st.sampled_from(MODELS), st.sampled_from([1, 2, 8]), st.floats(1.05, 10))
@settings(max_examples=40, deadline=None)
def test_more_bandwidth_is_never_slower(device, model, chips, factor):
    run = run_of(device, model, chips)
    assert time_us(faster(run, factor)) < time_us(run)


@given(st.sampled_from(MACHINES), st.sampled_from(MODELS), st.floats(2.5, 6), st.floats(0.05, 0.5))
@settings(max_examples=40, deadline=None)
def test_more_bytes_of_one_format_are_never_faster(device, model, bits, more):
    assert time_us(run_of(device, model, bits=bits)) < time_us(run_of(device, model, bits=bits + more))


@pytest.mark.parametrize("device", ["H100_SXM", "RTX_4090", "Apple_M2_Ultra", "SN40L"])
def test_a_longer_context_takes_longer(device):
    times = [time_us(run_of(device, prompt=prompt)) for prompt in (100.0, 10_000.0, 100_000.0)]
    assert times == sorted(times)
    assert times[-1] > 1.2 * times[0]


def test_prefill_counts_only_where_the_published_speed_counts_it():
    decode = run_of(prompt=4096.0, generated=128.0)
    both = dataclasses.replace(decode, counts_prefill=True)
    assert decode.prefill_floor_us == 0
    # 2 x 6.98 G body weights x 4096 tokens and 2 x 4096^2 x 4096 x 32 at 989.4 TFLOP/s, over 128 tokens.
    weights = both.traffic.body
    assert both.prefill_floor_us == pytest.approx((2 * weights * 4096 + 2 * 4096**3 * 32) / 989.4e12 * 1e6 / 128)
    assert time_us(both) > time_us(decode) + both.prefill_floor_us


def test_engines_that_widen_weights_move_five_times_the_bytes_of_int8():
    plain = run_of(bits=8.0, generated=2.0, prompt=0.0)
    widening = dataclasses.replace(plain, engine=dataclasses.replace(plain.engine, widens_weights=True))
    fixed, more = (anatomy(Runs.of([run])).fixed_us[0] for run in (plain, widening))
    assert more - fixed == pytest.approx(4 * plain.weight_bytes / 3350e3)
    assert widening.floor_us == plain.floor_us


def test_chips_in_a_pipeline_do_not_add_up():
    together, in_turn = run_of(chips=4), run_of(chips=4, pipeline=True)
    assert in_turn.floor_us == pytest.approx(4 * together.floor_us)
    assert "all-reduces" in amounts_us(together)
    assert "all-reduces" not in amounts_us(in_turn)


def test_groups_beyond_a_node_pay_for_the_network():
    effect = Effect("reduce", "nodes")
    assert effect not in effects(run_of(chips=8))
    assert effect in effects(run_of(chips=16))


def test_a_wider_model_takes_a_wafer_longer_per_layer():
    narrow, wide = (amounts_us(run_of("WSE-3_CS-3", model, 4)) for model in ("llama-3-8b", "llama-3-70b"))
    assert narrow["layers"] / 32 == pytest.approx(1.0)
    assert wide["layers"] / 80 == pytest.approx(1.5)
    # Whatever its depth, a token leaves the wafer and comes back once.
    assert narrow["round trip"] == wide["round trip"]


def test_layers_spread_over_more_lpus_take_more_hops():
    def hops(model: str) -> float:
        return amounts_us(run_of("Groq_LPU_v1", model, 64, 8.0)).get("hops", 0.0) / run_of(model=model).model.layers

    assert 0 <= hops("llama-3-8b") < hops("llama-3-70b") < hops("mixtral-8x7b")


def test_effects_have_priors_and_strangers_do_not():
    assert prior_of(Effect("layer", "engine", "anything")).sd > 0
    with pytest.raises(KeyError):
        prior_of(Effect("layer", "weather", "fine"))


def test_known_parameters_are_found_again_and_their_doubt_is_honest(synthetic):
    runs, truth, exact, noisy = synthetic
    whole = design(runs)
    found = fit(whole.all(), noisy, np.full(len(runs), 0.05))
    deviation = (found.mean - truth) / np.sqrt(np.diag(found.covariance))
    assert np.mean(np.abs(deviation) < 2) > 0.9
    times = predict(whole, found)
    assert np.median(np.abs(times.time_us / exact - 1)) < 0.02
    base = found.effects.index(Effect("layer", "base"))
    assert found.covariance[base, base] < prior_of(Effect("layer", "base")).sd ** 2 / 4


def test_one_wild_row_does_not_drag_the_others_along(synthetic):
    runs, _, exact, noisy = synthetic
    spoiled = noisy.copy()
    spoiled[3] *= 30
    whole = design(runs)
    times = predict(whole, fit(whole.all(), spoiled, huber(runs))).time_us
    others = np.arange(len(runs)) != 3
    assert np.median(np.abs(times / exact - 1)[others]) < 0.03
    assert times[3] < 2 * exact[3]


def test_intervals_hold_four_fifths_of_rows_that_were_held_out(synthetic):
    runs, _, _, noisy = synthetic
    fold = folds(list(zip(runs.device, runs.model, strict=True)))
    unseen = held_out(runs, noisy, fold)
    residual = np.log(unseen.time_us / noisy)
    scatter = scatter_of(residual, unseen.log_variance)
    # The rows were given 5 % of scatter.
    assert 0.02 < scatter < 0.08
    inside = np.abs(residual) <= Z_80 * np.sqrt(unseen.log_variance + 0.05**2)
    assert 0.73 <= inside.mean() <= 0.9


def test_what_was_never_seen_is_doubted_more(synthetic):
    runs, _, _, noisy = synthetic
    found = fit(design(runs).all(), noisy, huber(runs))
    asked = [run_of(), run_of("L40S"), run_of("L40S", engine=Engine("four")), run_of("Gaudi2", engine=Engine("four"))]
    variance = predict(design(Runs.of(asked)), found).log_variance
    assert list(variance) == sorted(variance)
    assert variance[0] < variance[1] / 2


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_what_is_said_of_a_run_does_not_hang_on_the_runs_beside_it(synthetic, seed):
    runs, _, _, noisy = synthetic
    few = np.random.default_rng(seed).choice(len(runs), 9, replace=False)
    found = fit(design(runs).rows(few[:5]), noisy[few[:5]], huber(runs)[few[:5]])
    together = predict(design(runs), found)
    for run in few:
        alone = predict(design(runs.rows(np.array([run]))), found)
        assert alone.time_us[0] == together.time_us[run]
        assert alone.log_variance[0] == together.log_variance[run]


def test_groups_are_never_split_over_folds():
    groups = [(f"chip {i % 9}", f"model {i % 7}") for i in range(200)]
    for seed in range(3):
        fold = folds(groups, seed)
        assert len({(group, place) for group, place in zip(groups, fold, strict=True)}) == len(set(groups))
        sizes = np.bincount([fold[groups.index(group)] for group in sorted(set(groups))])
        assert sizes.max() - sizes.min() <= 1


def test_a_model_without_a_decode_step_has_no_situation():
    with pytest.raises(UsageError, match="which has no decode step"):
        speeds(calibration(), Runs.of([run_of(model="bert-base")]))
