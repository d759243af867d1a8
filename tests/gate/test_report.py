"""What is said of a comparison: one sentence, tables, Markdown, JSON and JUnit XML."""

import json
from xml.etree import ElementTree

import numpy as np
import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.gate import command, report
from roofcast.harness.gate.judge import Comparison, ExactChange, Remark
from roofcast.harness.gate.pair import Estimate, estimate
from roofcast.harness.gate.verdict import Verdict

SLOWER = Verdict(
    "slower", "+6.2% in 64 interleaved comparisons; confirmed by +6.0% and +6.4%", Estimate(0.05, 0.06, 0.07, 1e-6, 128)
)
UNSURE = Verdict("inconclusive", "too few", estimate(np.array([0.1, -0.1])))
SAME = Verdict("same", "within 3% either way", Estimate(-0.01, 0.0, 0.01, 0.6, 64))


def comparison(verdicts=None, remarks=()):
    return Comparison(
        base="main (123456789)",
        head="working tree on abcdef012",
        verdicts=verdicts or {},
        remarks=remarks,
        exact_changes=[ExactChange("gemv", "XLA's FLOPs", 1000.0, 1200.0)],
        changed_code={"gemv": ("xla.dot", "ffi.dot")},
        software={"base": {"python": "3.11"}, "head": {"python": "3.11"}},
        seconds=12.3,
    )


MIXED = comparison(
    {("norm", "latency"): SAME, ("gemv", "latency"): SLOWER, ("rope", "compile time"): UNSURE},
    [Remark("cache", "newly wrong", "wrong: its error exceeds 1"), Remark("router", "new", "the head alone asks for it")],
)


def test_the_headline_names_what_is_bad_and_nothing_else():
    assert report.headline(MIXED) == "slower: gemv (latency +6.2%); newly wrong: cache"
    assert report.headline(comparison({("norm", "latency"): SAME})) == "nothing is slower"


def test_two_comparisons_of_the_same_revisions_are_one():
    both = comparison({("norm", "latency"): SAME}).beside(comparison({("bench/test_total.py", "latency"): SLOWER}))
    assert report.headline(both) == "slower: bench/test_total.py (latency +6.2%)"
    assert both.exit_code(inconclusive_fails=False) == 1
    assert set(both.verdicts) == {("norm", "latency"), ("bench/test_total.py", "latency")}
    assert both.seconds == 24.6


def test_exit_codes_of_a_comparison():
    assert MIXED.exit_code(inconclusive_fails=False) == 1
    unsure = comparison({("rope", "compile time"): UNSURE})
    assert [unsure.exit_code(inconclusive_fails=fails) for fails in (False, True)] == [0, 2]


def test_markdown_begins_with_the_worst_and_names_everything():
    text = report.as_markdown(MIXED)
    assert text.startswith("## roofcast gate: slower: gemv")
    rows = [line.split("|")[1].strip() for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert rows[1:4] == ["gemv", "rope", "norm"]
    for words in ("newly wrong", "router", "XLA's FLOPs", "1,200", "xla.dot in the base, ffi.dot in the head"):
        assert words in text


def test_json_is_strict_and_complete():
    said = json.loads(report.as_json(MIXED, 1), parse_constant=pytest.fail)
    assert said["exit_code"] == 1
    rulings = {(one["kernel"], one["quantity"]): one for one in said["verdicts"]}
    assert rulings["gemv", "latency"]["log_ratio"]["point"] == 0.06
    assert rulings["rope", "compile time"]["log_ratio"]["low"] is None
    assert said["remarks"][0] == {"kernel": "cache", "condition": "newly wrong", "reason": "wrong: its error exceeds 1"}


def test_junit_fails_what_is_slower_or_wrong_and_skips_what_is_unsure():
    suite = ElementTree.fromstring(report.as_junit(MIXED))
    failed = {case.get("name") for case in suite if case.find("failure") is not None}
    skipped = {case.get("name") for case in suite if case.find("skipped") is not None}
    assert (failed, skipped) == ({"gemv", "cache"}, {"rope"})
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("5", "2", "1")


@pytest.mark.parametrize("suffix", report.SUFFIXES)
def test_every_output_is_written_whole(tmp_path, suffix):
    report.write(MIXED, 1, tmp_path / f"gate{suffix}")
    assert [one.name for one in tmp_path.iterdir()] == [f"gate{suffix}"]


def test_a_file_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "gate.md").mkdir()
    with pytest.raises(UsageError, match="output must be a file that can be written"):
        report.write(MIXED, 1, tmp_path / "gate.md")


def test_an_escape_in_a_message_leaves_xml_that_parses_and_markdown_that_holds():
    hostile = comparison(remarks=[Remark("test_a[a|b]\x1b", "newly wrong", "\x1b[31mred\x00\ud800\ufffe")])
    suite = ElementTree.fromstring(report.as_junit(hostile))
    assert suite.findall("testcase/failure")[0].get("message") == r"newly wrong: \x1b[31mred\x00\ud800\ufffe"
    text = report.as_markdown(hostile)
    assert r"| test_a[a\|b]\x1b" in text
    assert "\x1b" not in text


def test_a_summary_that_cannot_be_written_is_one_sentence(tmp_path, capsys):
    report.summarize("verdict", tmp_path / "gone" / "summary.md")
    assert capsys.readouterr().err.startswith("roofcast: GITHUB_STEP_SUMMARY must be a file that can be written; got ")
    report.summarize("verdict", tmp_path / "summary.md")
    assert (tmp_path / "summary.md").read_text() == "verdict"


def test_a_suite_with_an_open_quote_is_refused():
    with pytest.raises(UsageError, match=r"suite must be words as a shell takes them; got \"tests -k 'a\": No closing"):
        command._words("suite", "tests -k 'a")
