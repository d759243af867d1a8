"""The site: pages that the code makes say what the code knows, and all of it builds without a warning or a network."""

import importlib.util
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from roofcast.harness.cli.exits import typed
from roofcast.harness.config.schemas import SCHEMAS
from roofcast.harness.facts.catalogue import names
from roofcast.kernels.formats import format_names

ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A copy of the sources, built where Sphinx is installed; the pages that the code makes are there in any case."""
    folder = tmp_path_factory.mktemp("site")
    for name in ("docs", "results"):
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("generated", "*.parquet", "__pycache__"))
    shutil.copy(ROOT / "CONTRIBUTING.md", folder)
    if importlib.util.find_spec("sphinx") is None:
        script = "import generate, pathlib; generate.write(pathlib.Path())"
        subprocess.run([sys.executable, "-c", script], cwd=folder / "docs", check=True)
        return folder, None
    options = ("-q", "-W", "--keep-going", "-b", "html")
    command = (sys.executable, "-m", "sphinx", *options, str(folder / "docs"), str(folder / "build"))
    return folder, subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(scope="module")
def made(site):
    """Text of a generated page."""
    folder, _ = site
    return lambda name: (folder / "docs" / "generated" / f"{name}.md").read_text(encoding="utf-8")


def test_every_key_of_every_verb_has_a_type_and_a_meaning(made):
    text = made("keys")
    for verb, schema in SCHEMAS.items():
        section = re.search(rf"^## roofcast {typed(verb)}$(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
        rows = {one[0]: one[1:] for one in cells(section)}
        for key in schema.__dataclass_fields__:
            kind, _, meaning = rows[f"`{key}`"]
            assert kind, key
            assert len(meaning) > 5, key


def cells(text):
    """Rows of the tables of a text."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [one.strip() for one in re.split(r"(?<!\\)\|", line.strip("|"))]


def test_every_model_machine_and_format_is_listed(made):
    for page, known in (("models", names("model")), ("devices", names("device")), ("formats", format_names("weight"))):
        listed = re.findall(r"^\| `?([\w.-]+)`? ", made(page), re.MULTILINE)
        assert set(known) <= set(listed), page


def test_the_accuracy_page_holds_what_validate_computes_and_what_is_kept(made):
    text = made("accuracy")
    assert re.search(r"^\| all +\| +2\d\d \| +\d+\.\d \|", text, re.MULTILINE)
    assert "| decode_attention |" in re.sub(" +", " ", text)
    assert "Each machine predicted by a fit to the others" in text


def test_the_site_builds_without_a_warning_and_asks_no_network(site):
    folder, done = site
    if done is None:
        pytest.skip("Sphinx, of the extra docs, is not installed")
    built = folder / "build"
    assert done.returncode == 0, done.stderr
    pages = list(built.rglob("*.html"))
    assert len(pages) > len(list((folder / "docs").rglob("*.md")))
    loads = re.compile(
        r"<(?:script|img|iframe)[^>]+src=\"(?:https?:)?//|<link[^>]+rel=\"stylesheet\"[^>]+href=\"(?:https?:)?//"
    )
    assert not [path.name for path in pages if loads.search(path.read_text(encoding="utf-8"))]
    assert not [
        path.name for path in built.rglob("*.css") if re.search(r"(?:@import|url\()\W*(?:https?:)?//", path.read_text())
    ]


def test_links_of_the_front_page_lead_somewhere():
    for page in [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]:
        if "generated" in page.parts:
            continue
        for link in re.findall(r"\]\((?!https?:|#)([^)#]+)", page.read_text(encoding="utf-8")):
            is_made = "generated" in link or link.startswith("generated/")
            assert is_made or (page.parent / link).exists(), f"{page.name}: {link}"
