"""The wheel holds everything that the checkout runs with, under one top-level name."""

import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest
from roofcast.harness.facts import catalogue
from roofcast.kernels.registry import op_names

ROOT = Path(__file__).parent.parent
ROOMS = ("kernels", "harness", "conf")
PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    # Built from a copy: what an earlier build left in the checkout would otherwise find its way into the wheel.
    sources = tmp_path_factory.mktemp("sources")
    for file in ("pyproject.toml", "setup.py", "README.md", "LICENSE"):
        shutil.copy(ROOT / file, sources)
    for room in ROOMS:
        shutil.copytree(ROOT / room, sources / room, ignore=shutil.ignore_patterns("__pycache__"))
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run((*PIP, "wheel", "--no-index", "--no-deps", "--no-build-isolation", "-w", folder, sources), check=True)
    return next(folder.iterdir())


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel):
    folder = tmp_path_factory.mktemp("installed")
    subprocess.run((*PIP, "install", "--no-index", "--no-deps", "--target", folder, wheel), check=True)
    return folder


@pytest.fixture
def python(installed, tmp_path):
    """Runs Python elsewhere, with the installed wheel and the dependencies but not the checkout."""
    # -S leaves out .pth files, through which the editable installation would stand in for what the wheel lacks.
    path = os.pathsep.join((str(installed), sysconfig.get_path("purelib"), sysconfig.get_path("platlib")))

    def run(*arguments):
        command = (sys.executable, "-S", *arguments)
        done = subprocess.run(command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def test_every_file_of_the_packages_is_in_the_wheel(wheel):
    here = (path for room in ROOMS for path in (ROOT / room).rglob("*") if path.is_file() and path.parent.name != "__pycache__")
    wanted = {f"roofcast/{path.relative_to(ROOT).as_posix()}" for path in here}
    assert {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name} == wanted


def test_the_licence_and_the_types_marker_go_along(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
    assert {"roofcast/kernels/py.typed", "roofcast/harness/py.typed"} <= set(names)


def test_only_roofcast_becomes_importable(python):
    script = "import importlib.util as u, json; print(json.dumps([n for n in {} if u.find_spec(n)]))"
    assert json.loads(python("-c", script.format(("roofcast", *ROOMS)))) == ["roofcast"]


def test_an_installed_copy_finds_every_op_model_and_device(python, installed):
    script = """
import json
import roofcast.kernels, roofcast.harness, roofcast.conf
from roofcast.harness.facts import catalogue
from roofcast.kernels.registry import op_named, op_names
print(json.dumps({
    "from": [package.__file__ for package in (roofcast.kernels, roofcast.harness, roofcast.conf)],
    "ops": [op_named(name).op for name in op_names()],
    "model": catalogue.names("model"),
    "device": catalogue.names("device"),
    "qwen": catalogue.facts("model", catalogue.resolve("model", "Qwen3 0.6B"))["layers"],
}))
"""
    found = json.loads(python("-c", script))
    assert found["from"] == [str(installed / "roofcast" / room / "__init__.py") for room in ROOMS]
    assert found["ops"] == list(op_names())
    assert found["qwen"] == 28
    for group in ("model", "device"):
        assert found[group] == list(catalogue.names(group)) == sorted(path.stem for path in (ROOT / "conf" / group).iterdir())


def test_the_installed_command_composes_its_configuration(python, installed):
    by_script = python(str(installed / "bin" / "roofcast"), "table", "--help")
    assert ", qwen3-0.6b, " in by_script
    assert "context: 2048" in by_script
    assert python("-m", "roofcast.harness", "table", "--help") == by_script
