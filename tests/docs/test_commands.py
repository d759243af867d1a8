"""Every command that README and docs show works: it is run, or, where it measures, its configuration is made."""

import itertools
import re
import shlex
import shutil
import sys
from pathlib import Path

import duckdb
import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep
from roofcast.harness import cli
from roofcast.harness.cli import jobs
from roofcast.harness.config import registration
from roofcast.harness.config.filters import as_filters
from roofcast.harness.config.overrides import check, prepared, with_files
from roofcast.harness.steps.plan import plan
from roofcast.harness.sweep.plugins import register

ROOT = Path(__file__).parent.parent.parent
PAGES = [ROOT / "README.md", *sorted(path for path in (ROOT / "docs").rglob("*.md") if "generated" not in path.parts)]
KEPT = ROOT / "results"
TARGETS = re.search(r"^\.PHONY: (.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)[1].split()

RUN = ("table", "predict", "claims", "validate", "import", "history", "doctor")
"""Verbs that are run as they are shown."""
ONLY_COMPOSED = {
    "bench": "it measures for minutes; CI runs it",
    "gate": "it measures two revisions for minutes; tests/gate runs it",
    "gate selftest": "it measures for a quarter of an hour; tests/gate runs it on less",
    "report": "it takes half a minute; tests/harness/page runs it",
    "validate": "test_site.py computes it",
    "validate kernels=own": "test_site.py computes it",
    "validate leave_one_out=true": "it takes twenty seconds; what it printed is in results/leave_one_out.txt",
    "table grid=true output=all.csv": "it writes 150 MB; narrower grids are run",
}
"""A verb with all that it is shown with, or a whole line -> why only its configuration is made and checked."""
WHOLE_VERBS = ("bench", "gate", "gate selftest", "report")

FENCE = re.compile(r"^ {0,3}```(\w*|\{\w+\}[^\n]*)\n(.*?)^ {0,3}```$", re.MULTILINE | re.DOTALL)
NAMED_IN_FILE = re.compile(r"^```\w+\n# ([\w./-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
NAMED_BEFORE = re.compile(r"`([\w./-]+)`:\n\n```\w+\n(.*?)^```$", re.MULTILINE | re.DOTALL)
STEP = re.compile(r"^ *- run: (.+)$", re.MULTILINE)
INLINE = re.compile(r"`(roofcast [^`]+)`")
PLACEHOLDER = re.compile(r"\b[A-Z]{3,}\b|\.\.\.|\bkeys?=value\b")


def files(page):
    """The files that a page shows: name -> text."""
    text = page.read_text(encoding="utf-8")
    return {name: body for pattern in (NAMED_IN_FILE, NAMED_BEFORE) for name, body in pattern.findall(text)}


def commands(page):
    """The command lines of a page's indented blocks and workflows, in order."""
    text = page.read_text(encoding="utf-8")
    for line in FENCE.sub(lambda found: "\n".join(f"    {one}" for one in STEP.findall(found[2])), text).splitlines():
        if line.startswith("    "):
            yield line.strip()


def inline(page):
    """Whole command lines within sentences."""
    text = FENCE.sub("", page.read_text(encoding="utf-8"))
    return [one for one in map(" ".join, (found.split() for found in INLINE.findall(text))) if not PLACEHOLDER.search(one)]


@pytest.fixture(autouse=True)
def quiet(monkeypatch):
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


@pytest.fixture(scope="module")
def store(filled, tmp_path_factory):
    """A folder of results."""
    folder = tmp_path_factory.mktemp("results")
    filled(folder)
    return folder


@pytest.fixture(params=PAGES, ids=lambda page: page.relative_to(ROOT).with_suffix("").as_posix())
def page(request, tmp_path, monkeypatch, store):
    """A page, in a folder that has its files, those of other pages that it does not show itself, and a store."""
    shown = {}
    for one in [*PAGES, request.param]:
        shown |= files(one)
    for name, text in shown.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copytree(store, tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return request.param


def test_every_command_of_a_page_works(page, capsys):
    failed = {}
    for line in commands(page):
        said = complaint(line)
        err = capsys.readouterr().err
        if said:
            failed[line] = f"{said} {err}".strip()
    assert failed == {}


def test_every_command_in_a_sentence_can_be_understood(page):
    for line in inline(page):
        composed(shlex.split(line)[1:])


def test_an_unknown_command_is_not_passed_over():
    assert complaint("roofcast foretell model=gpt2") == "it is not known to this test"
    assert complaint("rm -rf results") == "it is not known to this test"
    assert complaint("make coffee") == "it is not known to this test"
    with pytest.raises(Exception, match="contxt"):
        composed(["predict", "contxt=3"])


def test_the_runs_that_are_kept_say_which_command_made_them(tmp_path, monkeypatch):
    listed = dict(re.findall(r"^\| \[(\S+)\]\(\S+\) \| `([^`]+)` \|", (KEPT / "README.md").read_text(), re.MULTILINE))
    kept = {path.name for pattern in ("*.md", "*.txt") for path in KEPT.glob(pattern)}
    assert set(listed) == kept - {"README.md"}
    for command in listed.values():
        assert complaint_of_kept(command) == "", command
    monkeypatch.chdir(tmp_path)
    (tmp_path / "results").mkdir()
    assert cli.run(shlex.split(listed["predict.md"])[1:]) == cli.OK
    (new, figures), (old, known) = (taken_apart(folder / "predict.md") for folder in (tmp_path / "results", KEPT))
    assert new == old, "generate it anew: " + listed["predict.md"]
    # Another linear algebra library may round the last digit that is shown the other way.
    assert figures == pytest.approx(known, rel=0.02)


def complaint_of_kept(command):
    words = shlex.split(command.partition(" > ")[0])
    if words[0] == "make":
        return made(words[1], words[2:])
    composed(words[1:])
    return ""


def taken_apart(path):
    """A file's words, and its figures."""
    text = re.sub(r"[ -]{2,}", " ", path.read_text(encoding="utf-8"))
    return re.sub(r"\d[\d.,]*", "#", text), [
        float(one.replace(",", "").rstrip(".")) for one in re.findall(r"(?<![\w.-])\d[\d,]*\.?\d*(?![\w.-])", text)
    ]


def test_tables_of_pages_are_those_of_the_runs_that_are_kept():
    kept = {}
    for path in KEPT.glob("*.md"):
        if path.name != "README.md":
            kept |= {heading: (path.name, rows) for heading, rows in tables(path)}
    quoted = {}
    for one in PAGES:
        for heading, rows in tables(one):
            if heading in kept:
                name, known = kept[heading]
                assert [row for row in rows if row not in known] == [], f"{one.name} quotes what {name} does not hold"
                quoted.setdefault(name, set()).add(one.name)
    assert quoted["bench.md"] == {"README.md", "reading.md"}
    assert {"predict.md", "peers.md", "selftest.md"} <= set(quoted)
    ceilings = [line for line in (ROOT / "README.md").read_text(encoding="utf-8").splitlines() if line.startswith("Ceilings")]
    assert ceilings[0] in (KEPT / "bench.md").read_text(encoding="utf-8")


def tables(path):
    """Heading and rows of each table of a page, whatever its columns' width."""
    lines = [re.sub(r" +", " ", line.strip()) for line in path.read_text(encoding="utf-8").splitlines()]
    for is_table, group in itertools.groupby(lines, lambda line: line.startswith("|")):
        if is_table:
            heading, _, *rows = group
            yield heading, rows


def test_no_command_stands_in_the_text_as_if_it_were_prose():
    """Such a line has lost its indent, and with it this test."""
    loose = re.compile(r"^(?:\$ )?(?:make [A-Z]+=|roofcast [a-z_]+ (?:-|\w+[=.])).*", re.MULTILINE)
    for one in PAGES:
        assert loose.findall(FENCE.sub("", one.read_text(encoding="utf-8"))) == [], one.name


def test_what_is_only_composed_has_a_reason_and_is_shown():
    shown = {line.partition("#")[0].strip() for one in PAGES for line in commands(one)}
    for words, reason in ONLY_COMPOSED.items():
        assert reason
        assert any(line == f"roofcast {words}" or line.startswith(f"roofcast {words} ") for line in shown), words


def complaint(line):
    """What is wrong with a command line of the documentation; empty where it works."""
    words = shlex.split(re.sub(r"\$\{\{.*?\}\}", "main", line), comments=True)
    match words:
        case ["make"]:
            return ""
        case ["make", target, *given] if target in TARGETS:
            return made(target, given)
        case [".", ".venv/bin/activate"]:
            return ""
        case ["python", "-m", "pip", "install", *_]:
            # It would change the environment that the test runs in.
            return ""
        case [".venv/bin/python", script, *rest] if (ROOT / script).is_file():
            # It measures for minutes, with the keys of the gate.
            composed(["gate", *(word for word in rest if "=" in word)])
            return ""
        case ["duckdb", "-c", query]:
            return "" if duckdb.sql(query).fetchall() else "it finds nothing"
        case ["roofcast" | ".venv/bin/roofcast", *rest]:
            return told(rest)
    return "it is not known to this test"


def made(target, given):
    arguments = [one for text in given for one in shlex.split(text.removeprefix("ARGS="))]
    if target == "bench":
        composed(["bench", *arguments])
        return ""
    missing = [one for one in arguments if not (ROOT / one).exists()]
    return f"it names {missing}, which are not there" if missing else ""


def told(words):
    """Of a command line of roofcast."""
    typed = " ".join(words)
    is_listed = typed in ONLY_COMPOSED or typed.startswith(tuple(f"{verb} " for verb in WHOLE_VERBS))
    if is_listed and "--help" not in words:
        composed(words)
        return ""
    if words[0] not in (*RUN, *WHOLE_VERBS):
        return "it is not known to this test"
    try:
        code = cli.run(words)
    except SystemExit as ended:  # Hydra ends the process when it has shown its help.
        code = ended.code
    return "" if code == cli.OK else f"it ends with {code}"


def composed(words):
    """Makes every configuration of a command line, and of a question about a step its plan.

    Raises:
        Exception: what Hydra or a check says of a word that is wrong.
    """
    verb, *rest = words
    if rest and f"{verb}_{rest[0]}" in cli.VERBS:
        verb, *rest = f"{verb}_{rest[0]}", *rest[1:]
    shorthand = {"import": with_files, "table": as_filters}.get(verb, list)
    registration.register()
    register([])
    given = [one for one in prepared(shorthand(rest)) if one not in ("-m", "--help")]
    choices = map(sweep, without_launcher(given))
    for job in itertools.product(*choices):
        config = jobs._composed(verb, job)
        check(config, verb)
        if verb == "bench":
            assert plan(config).step


def without_launcher(words):
    """The other words; what names a launcher is checked against its file, for its extra may not be installed."""
    name = next((one.partition("=")[2] for one in words if one.startswith("hydra/launcher=")), None)
    known = yaml.safe_load((ROOT / "conf" / "hydra" / "launcher" / f"{name}.yaml").read_text()) if name else {}
    for one in words:
        if one.startswith("hydra.launcher."):
            place = known
            for key in one.partition("=")[0].split(".")[2:]:
                place = place[key]
    return [one for one in words if not one.startswith(("hydra/launcher=", "hydra.launcher."))]


def sweep(word):
    """The overrides that a word with commas stands for."""
    (override,) = OverridesParser.create().parse_overrides([word])
    if not override.is_sweep_override():
        return [word]
    if isinstance(found := override.value(), IntervalSweep):
        # A search tries what lies between; the pages search whole numbers.
        return [f"{override.get_key_element()}={int(one)}" for one in (found.start, found.end)]
    return [f"{override.get_key_element()}={one}" for one in override.sweep_string_iterator()]
