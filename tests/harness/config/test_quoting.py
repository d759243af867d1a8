"""Texts as people have them reach Hydra as those very texts."""

import os
import shlex
import sys
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from hypothesis import example, given, settings
from hypothesis import strategies as st
from roofcast.harness import cli
from roofcast.harness.config.overrides import as_typed, prepared, with_files
from roofcast.harness.config.quoting import literal
from roofcast.harness.errors import UsageError

EXAMPLES = int(os.environ.get("ROOFCAST_EXAMPLES", "60"))
PARSER = OverridesParser.create()
KEYS = ("results", "output", "plots", "rows", "published", "kernels", "steps", "weights", "base", "head", "save", "suite")
ODD = ["a+b", "a(b)", "ünï", "a=b.csv", "a b", " a", "a, b", "feature/#12-x", "HEAD~1", "HEAD@{1}", "x'y", 'x"y', "tests -k 'a"]
ODD += [
    "007",
    "1e5",
    "true",
    "nan",
    "NULL",
    "[a]",
    "{a:1}",
    "a\\",
    "a\\'b",
    "a\\\\b",
    "日本",
    "glob(*)",
    "choice(a,b)",
    "a:b",
    "\t",
    "%$&|;",
]


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", list(sys.argv))
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")


def understood(override: str) -> object:
    """What Hydra takes an override for."""
    return PARSER.parse_override(override).value()


@pytest.mark.parametrize("text", ODD)
def test_a_text_is_taken_as_it_is(text: str) -> None:
    for key in KEYS:
        (override,) = prepared([f"{key}={text}"])
        assert understood(override) == text
        assert shlex.split(as_typed([override])) == [f"{key}={text}"]


@settings(max_examples=EXAMPLES)
@given(st.text(max_size=12))
@example("${seed}")
def test_any_text_is_one_value_of_the_grammar(text: str) -> None:
    assert understood(f"x={literal(text)}") == text


@settings(max_examples=EXAMPLES)
@given(st.sampled_from(KEYS), st.text("ab1.,=+()[]{}~@#:\\ ü$/*?%'\"", min_size=1, max_size=10))
def test_any_text_of_a_key_is_taken_or_refused(key: str, text: str) -> None:
    try:
        (override,) = prepared([f"{key}={text}"])
    except UsageError as error:
        assert "no such user" in str(error)  # noqa: PT017
        return
    bare = text.strip()
    is_quoted = len(bare) > 1 and bare[0] in "'\"" and bare[-1] == bare[0]
    if not (is_quoted or text.startswith("~")):
        assert understood(override) == text


def test_a_sweep_is_over_texts_between_commas(tmp_path: Path) -> None:
    assert prepared(["-m", "results=a+b,c d"]) == ["-m", "results='a+b','c d'"]
    assert prepared(["-m", "results='a,b',c"]) == ["-m", "results='a,b',c"]
    assert prepared(["hydra.mode=MULTIRUN", "base=a#1,b"])[1] == "base='a#1',b"
    assert prepared(["-m", "rows=choice(a,b)"]) == ["-m", "rows=choice(a,b)"]
    assert prepared(["engine=vllm,a b"]) == ["engine=vllm,'a b'"]
    (tmp_path / "a, b").mkdir()
    assert prepared(["-m", "results=a, b"]) == ["-m", "results='a, b'"]


def test_the_home_folder_is_meant_by_its_sign(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "own"))
    for key in ("results", "output", "plots", "rows", "published", "kernels", "steps", "weights"):
        for typed in (f"{key}=~/a b", f"{key}='~/a b'"):
            (override,) = prepared([typed])
            assert understood(override) == f"{tmp_path}/own/a b"
        with pytest.raises(UsageError, match=f"{key} must be a path, in which ~ stands for a home folder; got '~nobody.csv'"):
            prepared([f"{key}=~nobody.csv"])
    assert prepared(["-m", "results=~/a,~/b"]) == ["-m", f"results={tmp_path}/own/a,{tmp_path}/own/b"]
    assert with_files(["~/x.json"]) == [f"files=[{tmp_path}/own/x.json]"]
    assert prepared(["base=~1"]) == ["base='~1'"]


def test_files_have_any_name(tmp_path: Path) -> None:
    for name in ("a=b.jsonl", "model=x", "a+b"):
        (tmp_path / name).touch()
    assert with_files(["a=b.jsonl", "a+b", "x\\'y", "model=x"]) == ["files=['a=b.jsonl','a+b','x\\\\\\'y']", "model=x"]
    assert with_files(["c=d.jsonl", "a"]) == ["c=d.jsonl", "a"]


@pytest.mark.parametrize("name", ["a+b", "a(b)", "ünï", "c, d", "e'f", "g=h", "null", "~", "$x", "a.b.c"])
def test_a_file_in_any_folder_is_found_and_another_is_written(name: str, tmp_path: Path, capsys) -> None:
    folder = tmp_path / name
    folder.mkdir()
    (folder / "tiny.yaml").write_bytes(Path(__file__).parents[2].joinpath("tiny.yaml").read_bytes())
    where = f"{tmp_path}/{name}"
    assert (
        cli.run(["predict", f"model={where}/tiny.yaml", "device=h100", f"output={where}/o=1.csv", f"results={where}"]) == cli.OK
    )
    assert sorted(one.name for one in folder.iterdir()) == ["o=1.csv", "tiny.yaml"]
    assert [one.name for one in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("group", ["model", "device", "format", "kernel", "timing", "experiment", "+model@x", "hydra/launcher"])
@pytest.mark.parametrize("form", ["{}", "'{}'", '"{}"', "[{}]", "choice({},default)", "default,{}"])
def test_no_choice_leads_out_of_its_group(group: str, form: str, tmp_path: Path, capsys) -> None:
    (tmp_path / "evil.yaml").write_text("name: evil\n_target_: os.system\n")
    for path in (str(tmp_path / "evil"), os.path.relpath(tmp_path / "evil", Path(cli.__file__).parents[2] / "conf" / "model")):
        assert cli.run(["bench", "-m", f"{group}={form.format(path)}", "--cfg", "job"]) == cli.USAGE
        said = capsys.readouterr()
        assert said.out == ""
        assert len(said.err.splitlines()) == 1
        assert "must be" in said.err


def test_what_is_composed_knows_no_home_folder(tmp_path: Path, capsys) -> None:
    assert cli.run(["predict", "device=h100", "model.name='~/x'", "results=${model.name}"]) == cli.USAGE
    assert (
        "results must be a path; ~ stands for a home folder only where it is typed first; got '~/x'" in capsys.readouterr().err
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("written", ["output='a,b.csv'", "output=a b.csv", "output='~/x.csv'"])
def test_a_sweep_does_not_write_one_file_of_any_name_over_and_over(written: str, capsys) -> None:
    assert cli.run(["predict", "-m", "device=h100", "context=1,2", written]) == cli.USAGE
    assert "output must name another file for every job of a sweep" in capsys.readouterr().err
