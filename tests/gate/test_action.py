"""The GitHub Action: its inputs are the verb's keys, and its shell does what it says where GitHub's variables are set."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from roofcast.harness.config.schemas import Gate

ROOT = Path(__file__).parent.parent.parent
ACTION = yaml.safe_load((ROOT / "action.yml").read_text())
MEASURE, COMMENT, END = ACTION["runs"]["steps"]
OWN = {"overrides", "python", "comment", "token"}
"""Inputs that are the action's and not the verb's."""
RECORDS = '#!/bin/sh\nprintf "%s\\n" "$*" >> "$RUNNER_TEMP/said.txt"\n'


def test_every_input_is_a_key_of_the_verb_with_the_same_default():
    keys = Gate.__dataclass_fields__
    assert set(ACTION["inputs"]) - OWN <= set(keys)
    defaults = yaml.safe_load((ROOT / "conf" / "gate.yaml").read_text())
    groups = {name: value for one in defaults["defaults"] if isinstance(one, dict) for name, value in one.items()}
    for name, facts in ACTION["inputs"].items():
        assert facts["description"]
        if name not in OWN:
            expected = (groups | defaults)[name]
            assert yaml.safe_load(str(facts["default"]) or "null") == expected, name


def test_no_input_is_a_part_of_a_script():
    assert not [step for step in ACTION["runs"]["steps"] if "${{" in step["run"]]


def test_the_workflow_that_is_shown_gives_inputs_that_there_are():
    blocks = re.findall(r"```yaml\n(.*?)```", (ROOT / "docs/tutorials/gate.md").read_text(), re.DOTALL)
    (workflow,) = (yaml.safe_load(block) for block in blocks if "uses: OWNER/roofcast" in block)
    (job,) = workflow["jobs"].values()
    step = job["steps"][-1]
    assert re.fullmatch(r"[\w./-]*roofcast@\S+", step["uses"])
    assert set(step["with"]) <= set(ACTION["inputs"])
    assert {"fetch-depth": 0} in [one.get("with") for one in job["steps"]]
    assert workflow["permissions"]["pull-requests"] == "write"


@pytest.fixture
def runner(tmp_path):
    """A folder for everything that GitHub's runner would have, and a stand-in for its gh."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "gh").write_text(RECORDS)
    (tmp_path / "bin" / "gh").chmod(0o755)
    return tmp_path


def shell(step, runner, cwd, **given):
    inputs = {name: facts["default"] for name, facts in ACTION["inputs"].items()} | {"python": sys.executable}
    variables = {}
    for name, text in step.get("env", {}).items():
        plain = re.fullmatch(r"\$\{\{ inputs\.(\w+) \}\}", text)
        variables[name] = inputs[plain[1]] if plain else ""
    variables |= {"RUNNER_TEMP": str(runner), "GITHUB_REPOSITORY": "owner/name", "NUMBER": "7"}
    variables |= {name: str(runner / name) for name in ("GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY")} | given
    path = os.pathsep.join((str(runner / "bin"), os.environ["PATH"]))
    command = ("bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", step["run"])
    environment = os.environ | variables | {"PATH": path}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False)


def test_keys_reach_the_gate_as_they_were_given(runner):
    (runner / "python").write_text(RECORDS)
    (runner / "python").chmod(0o755)
    given = {"PYTHON": str(runner / "python"), "BASE": "origin/main", "OVERRIDES": "confirmations=3\nseed=1\n"}
    assert shell(MEASURE, runner, runner, **given).returncode == 0
    said = (runner / "said.txt").read_text()
    assert "-m roofcast.harness gate least=0.03 inconclusive_fails=false budget_s=240 model=llama-3.2-1b" in said
    assert f"base=origin/main confirmations=3 seed=1 output={runner}/roofcast-gate.md" in said
    shell(MEASURE, runner, runner, **given, SUITE="bench -k 'one or two'")
    assert "suite=bench -k 'one or two' base=origin/main" in (runner / "said.txt").read_text()


def test_roofcast_is_installed_from_the_action_where_it_is_not_yet(runner):
    (runner / "python").write_text(RECORDS + 'test "$1" != -c\n')
    (runner / "python").chmod(0o755)
    assert shell(MEASURE, runner, runner, PYTHON=str(runner / "python"), GITHUB_ACTION_PATH="action").returncode == 0
    assert "-m pip install --quiet action\n" in (runner / "said.txt").read_text()


def test_a_suite_is_compared_and_the_summary_posted(runner, tmp_path):
    folder = tmp_path / "project"
    folder.mkdir()
    (folder / "test_sum.py").write_text("def test_sum(benchmark):\n    assert benchmark(sum, [1, 2]) == 3\n")
    for arguments in (("init", "-q", "-b", "main"), ("add", "-A"), ("commit", "-qm", "main")):
        who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
        subprocess.run(("git", "-C", folder, *who, *arguments), check=True)
    quick = "least_quads=2 most_quads=2 confirmations=1 most_confirmations=1"
    done = shell(MEASURE, runner, folder, SUITE="test_sum.py", BASE="HEAD", HEAD="HEAD", OVERRIDES=quick, BUDGET_S="1")
    assert done.returncode == 0, done.stderr
    assert (runner / "GITHUB_OUTPUT").read_text() == "code=0\n", done.stderr
    text = (runner / "roofcast-gate.md").read_text()
    assert text.startswith("## roofcast gate: nothing is slower")
    assert (runner / "GITHUB_STEP_SUMMARY").read_text() == text
    assert shell(COMMENT, runner, folder).returncode == 0
    assert f"pr comment 7 --repo owner/name --body-file {runner}/roofcast-gate.md" in (runner / "said.txt").read_text()


def test_an_earlier_comment_is_edited(runner):
    (runner / "bin" / "gh").write_text(RECORDS + 'case "$*" in *--jq*) echo 41; echo 42;; esac\n')
    assert shell(COMMENT, runner, runner).returncode == 0
    assert "-X PATCH repos/owner/name/issues/comments/41 -F body=@" in (runner / "said.txt").read_text()


def test_a_comment_that_may_not_be_written_is_a_warning(runner):
    (runner / "bin" / "gh").write_text("#!/bin/sh\nexit 1\n")
    done = shell(COMMENT, runner, runner)
    assert (done.returncode, done.stdout[:11]) == (0, "::warning::")


def test_what_the_gate_cannot_do_is_in_the_summary_and_fails_at_the_end(runner):
    done = shell(MEASURE, runner, runner, BASE="nowhere")
    assert done.returncode == 0
    assert (runner / "GITHUB_OUTPUT").read_text() == "code=4\n"
    assert "must be run inside a git checkout" in (runner / "GITHUB_STEP_SUMMARY").read_text()
    assert shell(END, runner, runner, CODE="4").returncode == 4
