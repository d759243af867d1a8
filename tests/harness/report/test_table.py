"""One table, three renderings, and what each does with awkward cells."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.report.peers import peers_table
from roofcast.harness.report.roofline import roofline_table
from roofcast.harness.report.table import Column, Table, show, write
from roofcast.harness.store.record import Run
from roofcast.harness.words import figure

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


def test_figures_in_csv_are_numbers(tmp_path: Path) -> None:
    write([Table("Big", [Column("name", text=True), Column("rate")], [["a, b", "1,234,567"]])], tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_text().splitlines()[-1] == '"a, b",1234567'


def test_what_was_there_stays_where_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out.md"
    out.write_text("before")

    def full(self: Path, text: str, encoding: str) -> int:
        with self.open("w") as file:
            file.write(text[:3])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(UsageError, match="No space left on device"):
        write([TABLE], out)
    assert out.read_text() == "before"
    assert [one.name for one in tmp_path.iterdir()] == ["out.md"]


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


def _at(measurement, floor_us: float, **parts):
    record = measurement(**parts)
    return dataclasses.replace(record, statistics=dataclasses.replace(record.statistics, floor_us=floor_us))


def test_memory_that_sped_up_since_the_ceilings_were_taken_is_said(measurement) -> None:
    record = measurement()
    moved, usual = record.work.bytes_read + record.work.bytes_written, record.ceilings.read_gbs
    quiet, fast = (_at(measurement, moved / (usual * speed) / 1e3) for speed in (1.05, 1.5))
    assert not any("times as fast" in note for note in roofline_table([quiet]).notes)
    assert any("up to 1.5 times as fast" in note for note in roofline_table([quiet, fast]).notes)


def test_libraries_are_compared_with_ours_of_the_same_run_only(measurement) -> None:
    ours = measurement()
    slower = dataclasses.replace(
        ours.statistics, fraction_of_ceiling=ours.statistics.fraction_of_ceiling / 2, latency_us=12100.0
    )
    theirs = dataclasses.replace(
        ours, subject=dataclasses.replace(ours.subject, implementation="peers.torch"), statistics=slower
    )
    earlier = dataclasses.replace(theirs, run=Run(run_id="b" * 32, roofcast_version="0.1.0"))
    assert peers_table([ours, earlier]) is None
    table = peers_table([ours, theirs, earlier])
    assert table is not None
    assert [list(row) for row in table.rows] == [[ours.subject.label, "xla.dot", "6,050", "torch", "12,100", "2.00"]]
    assert not any("draws" in note for note in table.notes)
    steps = [dataclasses.replace(one, subject=dataclasses.replace(one.subject, op="step")) for one in (ours, theirs)]
    whole = peers_table(steps)
    assert whole is not None
    assert any("ours draws the next token too" in note for note in whole.notes)
