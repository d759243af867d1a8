"""Text of others on a terminal: what would steer it is escaped, what it cannot draw is plain."""

import io
import sys

import pytest
from roofcast.harness.cli.exits import complain
from roofcast.harness.report.table import Column, Table, markdown, show
from roofcast.harness.shown import escaped, take_any_text

HOSTILE = "\x1b]0;title\x07\u202egpj.exe\ud800\x9b31m"


def test_what_steers_a_terminal_is_escaped_and_the_rest_stays() -> None:
    assert escaped(HOSTILE) == r"\x1b]0;title\x07\u202egpj.exe\ud800\x9b31m"
    assert escaped("ünï — 漢字 ±\u00a0é") == "ünï — 漢字 ±\u00a0é"
    assert escaped("a\nb\r", keep="\n") == "a\nb\\r"


def test_a_table_escapes_its_title_cells_and_notes() -> None:
    text = io.StringIO()
    show(Table(HOSTILE, [Column("a", text=True)], [[HOSTILE]], [HOSTILE]), text)
    assert text.getvalue().count(escaped(HOSTILE)) == 3
    assert all(one.isprintable() or one == "\n" for one in text.getvalue())


def test_a_complaint_is_escaped(capsys: pytest.CaptureFixture[str]) -> None:
    complain(f"got {HOSTILE}")
    assert capsys.readouterr().err == f"roofcast: got {escaped(HOSTILE)}\n"


def test_no_cell_ends_a_cell_of_markdown() -> None:
    drawn = markdown(Table("t", [Column("a", text=True), Column("b", text=True)], [["test[a|b]", "one\ntwo"]]))
    row = next(line for line in drawn.splitlines() if "test" in line)
    assert r"test[a\|b]" in row
    assert r"one\ntwo" in row


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_that_knows_few_characters_gets_plain_ones(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    take_any_text()
    show(Table("漢 ≤ 2", [Column("a", text=True)], [["3 — 4 ████▌"]]))
    sys.stdout.flush()
    said = raw.getvalue().decode(encoding)
    assert r"\u6f22 <= 2" in said
    assert "3 - 4 ####" in said
    assert "---" in said
