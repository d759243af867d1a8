"""Facts about the checkout that hold however it grows."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PYTHONS = ("3.11", "3.12", "3.13")
LOCKS = sorted((ROOT / "requirements").glob("*.txt"))
MODULES = sorted(path for room in ("kernels", "harness", "conf") for path in (ROOT / room).rglob("*.py"))


def project_files():
    for folder, folders, files in os.walk(ROOT):
        here = Path(folder)
        folders[:] = [
            name
            for name in folders
            if name in (".ci", ".github") or (not name.startswith((".", "__pycache__")) and not name.endswith(".egg-info"))
        ]
        if here == ROOT:
            # What a build or a run writes is not the project's.
            folders[:] = [name for name in folders if name not in ("build", "dist", "results")]
        yield from (here / name for name in files if not name.endswith(".pyc"))
    yield ROOT / "results" / "claims.md"


def lines_with(pattern):
    return [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in project_files()
        for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1)
        if re.search(pattern, line)
    ]


def pins(lock):
    """Every requirement of a lock file, with its hashes."""
    text = re.sub(r"^#.*\n", "", lock.read_text(), flags=re.MULTILINE)
    for entry in text.replace("\\\n", " ").splitlines():
        requirement, *hashes = entry.split("--hash=")
        yield Requirement(requirement), hashes


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: lock.stem)
def test_a_lock_pins_every_package_by_version_and_hash(lock):
    entries = list(pins(lock))
    assert entries
    for requirement, hashes in entries:
        assert re.fullmatch(r"==[\w.!+-]+", str(requirement.specifier)), requirement
        assert requirement.url is None
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one.strip()) for one in hashes)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize(("system", "machine"), [("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")])
def test_the_locks_give_each_machine_what_pyproject_asks_for(python, system, machine):
    environment = default_environment() | {
        "python_version": python,
        "python_full_version": f"{python}.0",
        "sys_platform": system,
        "platform_machine": machine,
    }
    found = {}
    for lock in LOCKS:
        for requirement, _ in pins(lock):
            if requirement.marker is None or requirement.marker.evaluate(environment):
                version = str(requirement.specifier).removeprefix("==")
                assert found.setdefault(requirement.name, version) == version, f"{lock.name} has another {requirement.name}"
    extras = PROJECT["optional-dependencies"]
    for line in (*PROJECT["dependencies"], *extras["dev"], *extras["docs"], *extras["cuda"]):
        wanted = Requirement(line)
        assert wanted.specifier.contains(found[wanted.name]), f"{line}; locked {found[wanted.name]}"


def test_no_file_names_a_package_index():
    assert not lines_with(r"pypi\.org|pythonhosted\.org|--(?:extra-)?index[-]url|--find[-]links")


def test_no_file_names_a_path_of_somebodys_machine():
    assert not lines_with(r"(?<![\w.~/-])/(?:home|root|Users|work|mnt|tmp)/\w")


def test_the_supported_pythons_are_those_that_are_tested():
    accepted = SpecifierSet(PROJECT["requires-python"])
    assert [f"3.{minor}" for minor in range(8, 20) if f"3.{minor}" in accepted] == list(PYTHONS)
    matrix = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == list(PYTHONS)


def make(*arguments, cwd=ROOT, **environment):
    variables = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "PYTHON")}
    command = (shutil.which("make"), "--no-print-directory", *arguments)
    return subprocess.run(command, cwd=cwd, env=variables | environment, capture_output=True, text=True)


def test_make_alone_lists_every_target():
    makefile = (ROOT / "Makefile").read_text()
    phony = re.search(r"^\.PHONY: (help .*)$", makefile, re.MULTILINE)[1].split()
    assert re.findall(r"^  make (\w+) +\w", make().stdout, re.MULTILINE) == phony
    assert {"bench", "test", "lint", "lock", "clean"} <= set(phony)


@pytest.fixture
def bare(tmp_path):
    """A folder with the Makefile and a PATH on which python3 is too old, as `python3 -c` of the check would find."""
    (tmp_path / "Makefile").write_text((ROOT / "Makefile").read_text())
    programs = tmp_path / "bin"
    programs.mkdir()
    script(programs / "python3", "exit 1")
    for name in ("mkdir", "sh"):
        (programs / name).symlink_to(f"/bin/{name}")
    return tmp_path


def script(path, body):
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)


def test_a_python_out_of_range_is_refused_in_one_sentence(bare):
    script(bare / "bin" / "python3.12", "echo 3.12")
    done = make(".venv/.python", "PYTHON=python3", cwd=bare, PATH=str(bare / "bin"))
    assert done.returncode == 2
    assert re.match(r"PYTHON must be a Python 3\.11, 3\.12 or 3\.13 .*; tried python3\.\n", done.stderr)


def test_another_python_on_the_path_stands_in_for_an_old_python3(bare):
    script(bare / "bin" / "python3.12", 'case "$1$2" in -mvenv) mkdir .venv;; *) echo 3.12;; esac')
    done = make(".venv/.python", cwd=bare, PATH=str(bare / "bin"))
    assert done.returncode == 0, done.stderr
    assert (bare / ".venv" / ".python").read_text() == "3.12\n"


def test_the_changelog_speaks_of_this_version():
    assert f"\n## [{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text()


def test_modules_are_one_idea_each():
    lengths = {path.relative_to(ROOT).as_posix(): len(path.read_text().splitlines()) for path in MODULES}
    assert {name: length for name, length in lengths.items() if length > 300} == {}


def test_what_is_begun_first_is_there():
    text = (ROOT / "tests" / "conftest.py").read_text()
    beginnings = re.findall(r'"([^"]+)"', re.search(r"^LONG = \((.*?)^\)", text, re.MULTILINE | re.DOTALL)[1])
    assert beginnings
    assert [one for one in beginnings if not list((ROOT / "tests").glob(f"{one}*"))] == []


def test_kernels_know_nothing_of_the_harness():
    imports = re.compile(r"^\s*(?:from|import)\s.*\bharness\b", re.MULTILINE)
    assert not [path for path in MODULES if path.is_relative_to(ROOT / "kernels") and imports.search(path.read_text())]


def test_what_only_computes_starts_no_jax():
    script = """
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    if "jax" in sys.modules:
        sys.exit(f"{name} imports JAX")
"""
    done = subprocess.run([sys.executable, "-c", script, *computing_modules()], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def computing_modules():
    for path in MODULES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        if parts[-1] != "__main__" and not may_use_jax(parts):
            yield ".".join(("roofcast", *(part for part in parts if part != "__init__")))


def may_use_jax(parts):
    """Implementations (the modules of an op's folder besides its workload and reference), what they share, what times them."""
    match parts:
        case ("kernels", "ffi" | "thirds" | "decoded" | "decoder" | "dispatch" | "triton", *_) | (
            "harness",
            "measure",
            *_,
        ):
            return True
        case ("harness", "sweep", "bench") | ("harness", "gate", "worker" | "yardstick"):
            return True
        case ("kernels", "step", "compose" | "checkpoint"):
            return False
        case ("kernels", op, module) if op != "formats":
            return module not in ("__init__", "workload", "reference")
    return False
