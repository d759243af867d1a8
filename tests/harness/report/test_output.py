"""Files that a verb is asked to write: one way to check them and one way to write them, whatever the verb."""

import os
from pathlib import Path

import pytest
from roofcast.harness import cli
from roofcast.harness.errors import UsageError
from roofcast.harness.report.output import checked, write_text


def test_a_file_is_expanded_and_nothing_is_written_by_checking_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert checked("~/new/x.md", (".md",)) == tmp_path / "new" / "x.md"
    assert list((tmp_path / "new").iterdir()) == []
    assert checked(None, (".md",)) is None


def test_another_ending_or_a_place_that_cannot_be_written_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"output must be a file ending in \.md or \.csv; got 'x\.pdf'"):
        checked("x.pdf", (".md", ".csv"))
    with pytest.raises(UsageError, match=r"rows must be a file ending in \.csv; got 'x\.pdf'"):
        checked("x.pdf", (".csv",), "rows")
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="rows must be a file that can be written; got"):
        checked(str(tmp_path / "file" / "out.md"), (".md",), "rows")
    (tmp_path / "folder.md").mkdir()
    with pytest.raises(UsageError, match="it is a folder"):
        checked(str(tmp_path / "folder.md"), (".md",))
    os.mkfifo(tmp_path / "pipe.md")
    with pytest.raises(UsageError, match="it is no plain file"):
        checked(str(tmp_path / "pipe.md"), (".md",))


def test_what_cannot_be_written_is_named_by_its_key(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="rows must be a file that can be written"):
        write_text("x", tmp_path / "file" / "x.csv", "rows")


@pytest.mark.parametrize("arguments", [["predict", "output=~/x.md", "device=h100"], ["claims", "output=~/x.md"]])
def test_a_home_folder_is_known_to_every_verb(arguments, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cli.run(arguments) == cli.OK
    assert (tmp_path / "x.md").read_text().startswith("### ")
