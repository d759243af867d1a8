"""Tables on a terminal: nothing is wider than it, no word is broken, and what is left out is said."""

import contextlib
import io
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from roofcast.harness import cli
from roofcast.harness.report import terminal
from roofcast.harness.report.table import Column, Table, show

NARROW = 80
FIGURES = [
    Column("kernel", text=True),
    Column("time", "us"),
    Column("rate", "GB/s", rank=2),
    Column("bound", text=True, rank=1),
]


class Terminal(io.StringIO):
    """A file that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def drawn(monkeypatch: pytest.MonkeyPatch, table: Table, width: int) -> list[str]:
    """Lines of a table on a terminal, without the codes of their style."""
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm-256color")
    file = Terminal()
    show(table, file)
    return re.sub(r"\x1b\[[0-9;]*m", "", file.getvalue()).splitlines()


def test_columns_leave_a_narrow_terminal_by_rank_and_are_named(monkeypatch) -> None:
    table = Table("t", FIGURES, [["gemv 4096x4096", "1,234.5", "98.7", "memory"]])
    wide, narrow = (drawn(monkeypatch, table, width) for width in (NARROW, 32))
    assert not any("not shown" in line for line in wide)
    assert any("1,234.5" in line and "98.7" in line and "memory" in line for line in wide)
    assert any("1,234.5" in line and "memory" in line for line in narrow)
    assert "not shown in 32 columns: rate" in " ".join(line.strip() for line in narrow)
    assert max(map(len, narrow)) <= 32


def test_columns_that_matter_less_leave_rather_than_fold_a_name_into_a_pillar(monkeypatch) -> None:
    columns = [Column("kernel", text=True), Column("time", "us"), Column("changes", rank=1), Column("runs", rank=2)]
    table = Table("t", columns, [["attention 32/8x128 context 32768 bf16", "1,234.5", "0", "10"]] * 3)
    lines = drawn(monkeypatch, table, 34)
    assert len([line for line in lines if "1,234.5" in line]) == 3
    assert len([line for line in lines if "32768" in line or "bf16" in line]) <= 6
    assert "not shown in 34 columns: changes, runs" in " ".join(line.strip() for line in lines)


def test_a_table_of_sentences_is_stacked_on_a_narrow_terminal(monkeypatch) -> None:
    sentence = "some words that go on and on " * 8
    table = Table("t", [Column(name, text=True) for name in ("what", "why", "how", "when")], [[sentence.strip()] * 4] * 2)
    lines = drawn(monkeypatch, table, 60)
    assert [line.split()[0] for line in lines if re.match(r"  \w", line)] == ["what", "why", "how", "when"] * 2
    assert max(map(len, lines)) <= 60
    assert any("──" in line for line in drawn(monkeypatch, table, 200))


def test_bars_begin_at_one_place_and_are_as_long_as_their_shares(monkeypatch) -> None:
    rows = [["a", "5%"], ["b", "100%"], ["c", "50%"], ["d", "-"]]
    lines = drawn(monkeypatch, Table("t", [Column("of", text=True), Column("share", bar=True)], rows), NARROW)
    bars = [line for line in lines if re.search(r"%", line)]
    assert [re.findall("[█▉▊▋▌▍▎▏]+", line)[0] for line in bars] == ["▌", "█" * 10, "█" * 5]
    assert len({re.search("[█▉▊▋▌▍▎▏]", line).start() for line in bars}) == 1


@given(
    st.lists(st.lists(st.text("ab ,.", max_size=30), min_size=4, max_size=4), max_size=4),
    st.lists(st.text("ab ", max_size=120), max_size=3),
    st.integers(40, 120),
)
def test_no_line_is_wider_than_the_terminal(rows, notes, width) -> None:
    with pytest.MonkeyPatch.context() as monkeypatch:
        lines = drawn(monkeypatch, Table("t", FIGURES, rows, [" ".join(one.split()) for one in notes]), width)
    broken = [word for one in notes for word in one.split() if len(word) > width - 2]
    assert broken or max(map(cell_len, lines)) <= width


@pytest.mark.parametrize(
    "arguments", [["predict", "model=llama-3.1-8b"], ["predict", "model=llama-3.1-70b", "device=h100"], ["claims"]]
)
def test_what_the_verbs_print_fits_eighty_columns_with_no_word_broken(arguments, monkeypatch, capsys) -> None:
    plain = printed(arguments, capsys)
    monkeypatch.setenv("COLUMNS", str(NARROW))
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("FORCE_COLOR", "1")
    lines = re.sub(r"\x1b\[[0-9;]*m", "", printed(arguments, capsys)).splitlines()
    assert max(map(cell_len, lines)) <= NARROW
    assert {word for line in lines if "not shown" not in line for word in line.split() if len(word) > 12} - drawn_only(
        lines
    ) <= set(plain.split())


def printed(arguments, capsys) -> str:
    assert cli.run(arguments) == cli.OK
    return capsys.readouterr().out


def drawn_only(lines) -> set[str]:
    """Rules and bars."""
    return {word for line in lines for word in line.split() if set(word) <= set("─█▉▊▋▌▍▎▏")}


def test_a_share_that_is_no_figure_has_no_bar() -> None:
    assert [terminal.bar(one) for one in ("-", "", "0%", "150%")] == ["", "", "", "█" * terminal.BAR_WIDTH]


def helped(arguments, capsys) -> str:
    with contextlib.suppress(SystemExit):
        cli.run(arguments)
    return capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["--help"], ["gate", "--help"]])
def test_help_fits_eighty_columns_and_says_the_same_words(arguments, monkeypatch, capsys) -> None:
    plain = helped(arguments, capsys)
    assert max(map(len, plain.splitlines())) > NARROW
    monkeypatch.setenv("COLUMNS", str(NARROW))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    narrow = helped(arguments, capsys)
    assert max(map(len, narrow.splitlines())) <= NARROW
    assert narrow.split() == plain.split()
