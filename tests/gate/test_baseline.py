"""A baseline: kept whole, refused under other conditions, and told apart from a head only where the head has changed."""

from dataclasses import replace

import numpy as np
import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.gate.baseline import Baseline, Shelf, Terms, shift
from roofcast.harness.gate.pair import Quad
from roofcast.harness.gate.recalled import MOST_CAPTURES, DisagreeError, agreeing
from roofcast.harness.gate.trial import Bench, Effort, NotComparableError, Trial
from roofcast.harness.gate.verdict import Policy, of_one_look
from roofcast.harness.host.host import Host

HOST = Host(cpu_model="a", architecture="x86_64", jax_version="0.10.2", cache_bytes={"L1": 2**15})
TERMS = Terms(HOST, {"plan": {"context": 64}, "residency": "cold"}, "0123")
KEY = ("gemv", "latency")


def capture(rng, slowdown=1.0, machine=1.0, noise=0.01, count=64):
    """Quads of a floor of a second and a kernel that takes two, each sample on a machine of another speed."""
    speed = machine * np.exp(rng.normal(0, 0.2, count))[:, None] * np.exp(rng.normal(0, noise, (count, 4)))
    return [Quad((one[0], one[1]), (2 * slowdown * one[2], 2 * slowdown * one[3])) for one in speed.tolist()]


def baseline(*captures):
    return Baseline(
        "main (012345678)",
        "2026-01-01 00:00 UTC",
        TERMS,
        {"jax": "0.10.2"},
        {"gemv": {"status": "ok", "reason": "", "implementation": "xla.dot", "exact": {"XLA's FLOPs": 1.0}}},
        tuple({"gemv": one} for one in captures),
    )


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.mark.parametrize(("slowdown", "ruling"), [(1.0, "same"), (1.1, "slower"), (0.9, "faster")])
@pytest.mark.parametrize("machine", [0.5, 1.0, 2.0])
def test_a_head_is_judged_by_its_share_of_the_ceiling_however_fast_the_machine_is_today(rng, machine, slowdown, ruling):
    kept = baseline(capture(rng), capture(rng))
    found = {KEY: kept.shift("gemv", capture(rng, slowdown, machine))}
    assert of_one_look(found, Policy())[KEY].ruling == ruling


def test_what_captures_differ_by_is_no_change(rng):
    kept = baseline(capture(rng, 0.95), capture(rng, 1.05))
    within, beyond = (kept.shift("gemv", capture(rng, slowdown)) for slowdown in (1.0, 1.2))
    assert within.point == 0
    assert within.low < -0.04 < 0.04 < within.high
    assert beyond.point == pytest.approx(np.log(1.2 / 1.05), abs=0.01)


def test_the_interval_of_a_shift_holds_the_truth_as_often_as_it_says(rng):
    found = [shift(capture(rng, count=24), capture(rng, 1.05, count=24)) for _ in range(400)]
    inside = np.mean([one.low <= np.log(1.05) <= one.high for one in found])
    # Binomial, three standard deviations; the calmer quads are chosen without a look at their ratios.
    assert inside > 0.95 - 3 * np.sqrt(0.95 * 0.05 / 400)
    assert np.mean([one.high - one.low for one in found]) < 0.05


def test_a_baseline_comes_back_as_it_was_kept(tmp_path, rng):
    kept = baseline(capture(rng, count=3), capture(rng, count=3))
    path = Shelf(tmp_path).put("release-1.0", kept)
    assert path == tmp_path / HOST.key / "release-1.0.json"
    assert Shelf(tmp_path).has("release-1.0")
    assert Shelf(tmp_path).get("release-1.0", TERMS) == kept


@pytest.mark.parametrize(
    ("now", "words"),
    [
        (replace(TERMS, host=replace(HOST, cpu_model="b")), "cpu_model was a, is b"),
        (replace(TERMS, host=replace(HOST, jax_version="0.12.0")), "jax_version was 0.10.2, is 0.12.0"),
        (replace(TERMS, question={"plan": {"context": 128}, "residency": "cold"}), "context was 64, is 128"),
        (replace(TERMS, measuring="4567"), "the code that measures has changed"),
    ],
)
def test_other_conditions_are_not_comparable_and_listed(tmp_path, rng, now, words):
    Shelf(tmp_path).put("one", baseline(capture(rng, count=3), capture(rng, count=3)))
    with pytest.raises(NotComparableError) as error:
        Shelf(tmp_path).get("one", now)
    assert str(error.value) == f"baseline one was saved under other conditions: {words}"


@pytest.mark.parametrize("name", ["", "../one", "a b", ".hidden"])
def test_what_is_no_name_is_refused(tmp_path, rng, name):
    with pytest.raises(UsageError, match="save must be a name"):
        Shelf(tmp_path).put(name, baseline(capture(rng), capture(rng)))
    assert not Shelf(tmp_path).has(name)


@pytest.mark.parametrize("damage", ["", "[]", '{"captures": [{}, {}]}'])
def test_a_file_that_is_no_baseline_is_named(tmp_path, damage):
    path = tmp_path / HOST.key / "one.json"
    path.parent.mkdir()
    path.write_text(damage)
    with pytest.raises(UsageError, match=r"a baseline that cannot be read, '.*one\.json'"):
        Shelf(tmp_path).get("one", TERMS)


class Fake(Bench):
    """Gives captures that were drawn here."""

    def run(self, deadline, only=None):
        answers = {"base": {"status": "ok", "reason": ""}, "head": {"status": "ok", "reason": ""}}
        return Trial({"gemv": answers}, {KEY: self.question["captures"].pop(0)})


@pytest.mark.parametrize(("slowdowns", "taken"), [((1.0, 1.0), 2), ((1.2, 1.0, 1.0), 3)])
def test_captures_are_taken_until_two_in_a_row_agree(tmp_path, rng, slowdowns, taken):
    drawn = [capture(rng, one) for one in slowdowns]
    found = agreeing(fake(tmp_path, rng, drawn), 1.0)
    assert [one.quads[KEY] for one in found] == drawn[taken - 2 : taken]


def test_captures_that_never_agree_make_no_baseline(tmp_path, rng):
    drawn = [capture(rng, 1.2**number) for number in range(MOST_CAPTURES)]
    with pytest.raises(DisagreeError, match=r"differ: gemv by \+\d\d\.\d%"):
        agreeing(fake(tmp_path, rng, drawn), 1.0)


def fake(folder, rng, captures):
    return Fake({}, folder, {"captures": list(captures)}, Policy(), Effort(1, 1, 0, 1.0), rng, lambda what: None)
