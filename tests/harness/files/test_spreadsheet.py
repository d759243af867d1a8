"""What of a CSV's cells a spreadsheet would take for a formula, in Python and in SQL alike."""

import csv

import pytest
from roofcast.harness.files.database import connection
from roofcast.harness.files.parquet import write_rows
from roofcast.harness.files.spreadsheet import cell, column

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "--")
HARMLESS = ("-1.5", "+2e3", "-", "", "a=b", "1-2", "name", "-inf")


@pytest.mark.parametrize("text", [*FORMULAS, *HARMLESS])
def test_a_formula_is_quoted_and_a_number_is_not(text: str) -> None:
    expected = f"'{text}" if text in FORMULAS else text
    assert cell(text) == expected
    with connection() as opened:
        assert opened.execute(f"SELECT {column('x')} FROM (SELECT ? AS x)", [text]).fetchall() == [(expected,)]


def test_what_is_no_text_stays() -> None:
    assert [cell(value) for value in (-1, -2.5, None, True)] == [-1, -2.5, None, True]


def test_the_table_of_a_sweep_is_quoted(tmp_path) -> None:
    write_rows([{"a": "=1+1", "b": -2.0}], {"a": "VARCHAR", "b": "DOUBLE"}, tmp_path / "x.csv", form="csv")
    with (tmp_path / "x.csv").open(newline="") as file:
        assert list(csv.reader(file)) == [["a", "b"], ["'=1+1", "-2.0"]]
