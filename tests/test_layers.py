"""The folders of the harness stand in one order, and each imports only from those before it."""

import ast
from pathlib import Path

import pytest

HARNESS = Path(__file__).parent.parent / "harness"

ORDER = (
    "errors shown words",
    "files",
    "facts",
    "config steps host",
    "store",
    "measure calibrate history",
    "importing predict doctor",
    "validation claims",
    "report",
    "page gate sweep",
    "verbs",
    "cli",
    "__main__ pytest_plugin",
)
"""From facts to the command line: what stands on one line knows nothing of its neighbours on that line."""

PLACE = {name: place for place, line in enumerate(ORDER) for name in line.split()}


def rooms():
    return sorted(path.stem for path in HARNESS.iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())


def imported_by(room):
    """Folder or module of the harness -> the files of a room that import it."""
    found = {}
    for path in sorted((HARNESS / room).rglob("*.py")) or [HARNESS / f"{room}.py"]:
        depth = len(path.relative_to(HARNESS).parts)
        for node in ast.walk(ast.parse(path.read_text())):
            # As many dots as the file lies deep lead to the harness itself.
            if isinstance(node, ast.ImportFrom) and node.level == depth:
                for name in [node.module.split(".")[0]] if node.module else [one.name for one in node.names]:
                    found.setdefault(name, set()).add(path.relative_to(HARNESS).as_posix())
    return found


def test_every_folder_has_its_place():
    assert sorted(PLACE) == [room for room in rooms() if room != "__init__"]


@pytest.mark.parametrize("room", PLACE)
def test_imports_lead_one_way(room):
    backwards = {name: files for name, files in imported_by(room).items() if name != room and not PLACE[name] < PLACE[room]}
    assert not backwards
