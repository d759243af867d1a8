"""One table, three renderings, and what each does with awkward cells."""

import csv
import dataclasses
import io
from pathlib import Path

import pytest
from roofcast.harness.errors import UsageError
from roofcast.harness.report.ceilings import ceilings_table
from roofcast.harness.report.peers import peers_table
from roofcast.harness.report.roofline import roofline_table
from roofcast.harness.report.table import Column, Table, show, write
from roofcast.harness.store.record import Run
from roofcast.harness.words import binary, figure, percent, span

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

    def full(self: Path, text: str, encoding: str, **_: str) -> int:
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


def test_a_share_that_is_not_known_is_a_dash() -> None:
    assert (percent(0.954), percent(None)) == ("95%", "-")
    assert (span(0.9, 1.0), span(0.9, float("inf")), span(None, None)) == ("90%-100%", "90%-", "-")


@pytest.mark.parametrize(
    ("size", "words"),
    [
        (49152, "48 KiB"),
        (2**25, "32 MiB"),
        (2**24.5, "22.6 MiB"),
        (260 * 2**20, "260 MiB"),
        (1.5 * 2**30, "1.5 GiB"),
        (0, "0 KiB"),
    ],
)
def test_sizes_are_said_as_caches_are_sold(size: float, words: str) -> None:
    assert binary(size) == words


def _with(record, **parts):
    """The record with some figures replaced, each in the part that has it."""
    for name, value in parts.items():
        part = next(one for one in ("statistics", "timing", "ceilings", "host") if hasattr(getattr(record, one), name))
        record = dataclasses.replace(record, **{part: dataclasses.replace(getattr(record, part), **{name: value})})
    return record


def _cells(table: Table, column: str) -> list[str]:
    place = [one.name for one in table.columns].index(column)
    return [row[place] for row in table.rows]


NO_SHARE = {"fraction_of_ceiling": None, "fraction_low": None, "fraction_high": None}
MOUNTAIN = {
    "working_set_bytes": tuple(2.0**place for place in range(16, 28)),
    "working_set_gbs": (200.0,) * 4 + (60.0,) * 4 + (20.0,) * 4,
    "working_set_low_gbs": (190.0,) * 4 + (55.0,) * 4 + (18.0,) * 4,
    "working_set_high_gbs": (205.0,) * 4 + (63.0,) * 4 + (21.0,) * 4,
    "cache_read_gbs": {"L2": 200.0, "L3": 60.0},
    "cache_end_bytes": {"L2": 2.0**19, "L3": 2.0**23},
}


def test_what_has_no_share_says_why_in_one_note(measurement) -> None:
    unknown = _with(measurement(), **NO_SHARE)
    table = roofline_table([measurement(), unknown, unknown])
    assert _cells(table, "of ceiling") == ["95%", "-", "-"]
    assert _cells(table, "95 %") == ["94%-96%", "-", "-"]
    [note] = [one for one in table.notes if "no share" in one]
    assert note.endswith("(their size lies between two levels): gemv 14336x4096 bf16 (xla.dot).")
    flat = dict.fromkeys(("working_set_gbs", "working_set_low_gbs", "working_set_high_gbs"), (20.0,) * 12)
    doubted = _with(unknown, **MOUNTAIN | flat, cache_bytes={"L3": 2**30})
    [note] = [one for one in roofline_table([doubted]).notes if "no share" in one]
    assert "of which L3 with 1024 MiB may have held a part" in note


def test_neither_library_nor_code_without_a_share_is_called_faster(measurement) -> None:
    ours = measurement()
    theirs = dataclasses.replace(ours, subject=dataclasses.replace(ours.subject, implementation="peers.torch"))
    for pair in ([_with(ours, **NO_SHARE), theirs], [ours, _with(theirs, **NO_SHARE)]):
        table = peers_table(pair)
        assert table is not None
        assert table.rows[0][-1] == "-"


def test_kernels_that_were_disturbed_alike_have_one_line(measurement) -> None:
    disturbed = [_with(measurement(), disturbance=share, calm=(False, False)) for share in (0.04, 0.07, 0.05)]
    core = _with(disturbed[0], follows="core")
    notes = [one for one in roofline_table([measurement(), *disturbed, core]).notes if one.startswith("disturbed")]
    assert len(notes) == 2
    assert notes[0].startswith("disturbed, 4% to 7% of the machine was gone (time budget of 1 s spent): gemv")
    assert notes[1].startswith("disturbed, 4% of their core was gone")
    assert all("so all count" in one for one in notes)


def test_the_speeds_of_the_memory_are_told_in_one_line(measurement) -> None:
    rates = {
        "samples_us": (6e3,) * 12,
        "multiply_add_probe_gflops": (90.0,) * 12,
        "calm": (True,) * 12,
        "read_probe_gbs": (20.0, 20.1, 30.0, 30.1) * 3,
    }
    record = measurement()
    two = dataclasses.replace(record, timing=dataclasses.replace(record.timing, **rates))
    [note] = [one for one in roofline_table([two]).notes if "memory read" in one]
    assert note.startswith(("the memory read 30.1 and 20.1 GB/s by turns", "the memory read 30.0 and 20.0 GB/s"))
    [note] = [one for one in roofline_table([record]).notes if "memory read" in one]
    assert "by turns" not in note
    assert not any("memory read" in one for one in roofline_table([_with(record, **NO_SHARE)]).notes)


def test_caches_are_shown_with_their_measured_ends_beside_what_is_told(measurement) -> None:
    told = {"L1": 2**15, "L2": 2**19, "L3": 2**25}
    table = ceilings_table(_with(measurement(), **MOUNTAIN, cache_bytes=told, read_slow_gbs=14.5))
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["L2 read, to 512 KiB (512 KiB told)"] == ["200", "190-205", "GB/s"]
    assert rows["L3 read, to 8 MiB (32 MiB told)"] == ["60.0", "55.0-63.0", "GB/s"]
    assert rows["memory read, at its faster speed"][0] == "20.4"
    assert rows["memory read, at its slower speed"][0] == "14.5"
    [unseen] = [one for one in table.notes if "no rate shows" in one]
    assert "L1" in unseen
    assert not any("may be a cache" in one for one in table.notes)


def test_records_from_before_caches_were_measured_are_shown(measurement) -> None:
    table = ceilings_table(measurement())
    assert [row[0] for row in table.rows][3:5] == ["L1 read", "L2 read"]
    assert len(table.notes) == 1


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
