"""One table, three renderings, and what each does with awkward cells."""

import csv
import io
from pathlib import Path

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.report.table import Column, Table, check_suffix, show, write
from roofcast.harness.report.words import figure

TABLE = Table(
    "Rates",
    [Column("kernel", text=True), Column("rate", "GB/s")],
    [["gemv [bold] 3x5", "1.50"], ["a, b", "20.0"]],
    ["a note with [brackets]."],
)


def test_the_plain_table_holds_every_cell_aligned_and_ends_no_line_in_blanks() -> None:
    text = io.StringIO()
    show(TABLE, text)
    lines = text.getvalue().splitlines()
    assert all(line == line.rstrip() for line in lines)
    assert "gemv [bold] 3x5" in text.getvalue()
    assert "a note with [brackets]." in text.getvalue()
    first, second = (next(line for line in lines if cell in line) for cell in ("1.50", "20.0"))
    assert first.index("1.50") + 4 == second.index("20.0") + 4
    assert any(line.split() == ["GB/s"] for line in lines)


def test_a_table_without_units_has_one_heading_line() -> None:
    text = io.StringIO()
    show(Table("t", [Column("a", text=True), Column("b", text=True)], [["1", "2"]]), text)
    assert len([line for line in text.getvalue().splitlines() if line]) == 4


def test_markdown_is_a_table_with_units_in_its_heading(tmp_path: Path) -> None:
    write([TABLE, TABLE], tmp_path / "deep" / "out.md")
    lines = (tmp_path / "deep" / "out.md").read_text().splitlines()
    assert lines.count("### Rates") == 2
    heading = next(line for line in lines if line.startswith("|"))
    assert [cell.strip() for cell in heading.strip("|").split("|")] == ["kernel", "rate (GB/s)"]
    assert "- a note with [brackets]." in lines


def test_csv_is_read_back_by_a_csv_reader(tmp_path: Path) -> None:
    write([TABLE], tmp_path / "out.csv")
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [["# Rates"], ["kernel", "rate (GB/s)"], *TABLE.rows]


def test_another_ending_or_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"output must be a file ending in \.md or \.csv; got 'x\.pdf'"):
        check_suffix(Path("x.pdf"))
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="output must be a file that can be written"):
        write([TABLE], tmp_path / "file" / "out.md")


@pytest.mark.parametrize(
    ("value", "words"),
    [
        (0, "0"),
        (None, "-"),
        (1234567, "1,234,567"),
        (12345.6, "12,346"),
        (123.456, "123"),
        (1.23456, "1.23"),
        (0.00123456, "0.00123"),
        (float("inf"), "inf"),
        (999.9, "1,000"),
        (-2.5, "-2.50"),
    ],
)
def test_figures_have_three_significant_digits(value: float | None, words: str) -> None:
    assert figure(value) == words
