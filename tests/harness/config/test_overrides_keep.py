"""A command writes over nothing that it reads."""

from pathlib import Path

import pytest
from roofcast.harness.cli.command import USAGE, run


@pytest.mark.parametrize(
    "words",
    [
        ("validate", "published={file}.csv", "rows={file}.csv"),
        ("validate", "kernels={file}.csv", "rows={folder}/../{name}/own.csv"),
        ("predict", "model={file}.json", "device=h100", "output={file}.json"),
    ],
)
def test_what_is_read_is_not_replaced(words: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for suffix in (".csv", ".json"):
        (tmp_path / f"own{suffix}").write_text("mine")
    assert run([one.format(file=tmp_path / "own", folder=tmp_path, name=tmp_path.name) for one in words]) == USAGE
    assert "which the same command reads; got" in capsys.readouterr().err
    assert {one.read_text() for one in tmp_path.iterdir()} == {"mine"}
