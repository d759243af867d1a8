"""The gate from end to end, in a repository made of this checkout. What is asserted does not hang on any time."""

import json
import os
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from roofcast.harness import cli
from roofcast.harness.gate.selftest import command

ROOT = Path(__file__).parent.parent.parent
MODEL = """
name: tiny
family: decoder
layers: 2
d_model: 64
heads: 4
kv_heads: 2
head_dim: 16
d_ff: 128
vocab: 512
max_context: 256
source: test
confidence: found
"""
QUICK = ("least_quads=6", "most_quads=6", "confirmations=1", "budget_s=1", "context=64", "model=tiny.yaml")
ROPE = Path("kernels") / "rope" / "xla.py"


def git(folder, *arguments):
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(("git", "-C", folder, *who, *arguments), check=True)


def change(folder, branch, file, old, new):
    """A branch from main that differs in one line."""
    git(folder, "checkout", "-qb", branch, "main")
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new))
    git(folder, "commit", "-qam", branch)


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gate")
    for room in ("kernels", "harness", "conf", "requirements"):
        shutil.copytree(ROOT / room, folder / room, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "tiny.yaml").write_text(MODEL)
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "main")
    change(folder, "wrong", ROPE, "first * cosine - second * sine", "first * cosine + second * sine")
    change(folder, "broken", ROPE, "import jax.numpy as jnp", "import jax.no_such_module as jnp")
    change(folder, "hangs", ROPE, "    half = ", "    import time\n    time.sleep(600)\n    half = ")
    change(folder, "dies", ROPE, "    half = ", "    import os\n    os.abort()\n    half = ")
    change(folder, "locked", Path("requirements") / "run.txt", "==", "==9")
    git(folder, "checkout", "-q", "main")
    return folder


def gate(repository, *arguments, **environment):
    command = (sys.executable, "-m", "roofcast.harness", "gate", *QUICK, *arguments)
    return subprocess.run(
        command, cwd=repository, env=os.environ | environment, capture_output=True, text=True, timeout=300, check=False
    )


@contextmanager
def stopped_after_one_round(*, is_there):
    """In place of the neighbour: presses Ctrl-C when the second round is begun."""
    assert is_there
    kept = command.Shelf.add

    def add(shelf, one):
        kept(shelf, one)
        print("round 1: 1 comparisons kept", file=sys.stderr)
        raise KeyboardInterrupt

    command.Shelf.add = add
    try:
        yield
    finally:
        command.Shelf.add = kept


def remarks(repository):
    return {one["kernel"]: one for one in json.loads((repository / "found.json").read_text())["remarks"]}


def test_unchanged_revisions_are_compared_in_every_quantity(repository, tmp_path):
    done = gate(
        repository,
        "base=HEAD",
        "kernel=rope",
        "compile_pairs=2",
        "budget_s=60",
        "output=found.json",
        GITHUB_STEP_SUMMARY=str(tmp_path / "s"),
    )
    assert done.stderr == ""
    found = json.loads((repository / "found.json").read_text())
    assert done.returncode == found["exit_code"]
    assert {one["quantity"]: one["kernel"] for one in found["verdicts"]} == {
        "latency": "rope 6x16",
        "compile time": "rope 6x16",
    }
    assert (found["remarks"], found["exact_changes"], found["changed_code"]) == ([], [], {})
    assert (tmp_path / "s").read_text().startswith("## roofcast gate: ")


def test_a_self_test_goes_on_where_it_was_stopped_and_shows_its_rates(repository, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    asked = ("gate", "selftest", *QUICK, "kernel.ops=[rope]", "peer_s=0.01", "slowdowns=[0.5]", "load=true", "results=kept")
    monkeypatch.setattr(command, "neighbour", stopped_after_one_round)
    assert cli.run([*asked, "comparisons=2"]) == 4
    monkeypatch.undo()
    monkeypatch.chdir(repository)
    assert cli.run([*asked, "comparisons=2"]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if line.startswith("round")] == [
        "round 1: 1 comparisons kept",
        "round 2: 2 comparisons kept",
    ]
    assert "smallest slow-down that is found 90% of the time" in said.out


def test_a_kernel_that_became_wrong_is_named_alone(repository):
    done = gate(repository, "base=main", "head=wrong", "kernel.ops=[rope,norm]", "compile_pairs=0", "output=found.json")
    assert done.returncode == 1, done.stderr
    assert {name: one["condition"] for name, one in remarks(repository).items()} == {"rope 6x16": "newly wrong"}
    assert "newly wrong: rope 6x16" in done.stdout


def test_the_way_back_is_a_kernel_that_is_mended(repository):
    gate(repository, "base=wrong", "head=main", "kernel=rope", "compile_pairs=0", "output=found.json")
    assert remarks(repository)["rope 6x16"]["condition"] == "mended"


def test_a_baseline_is_saved_and_later_revisions_are_held_against_it(repository):
    asked = ("kernel.ops=[rope,norm]", "least=0.9", "results=kept")
    done = gate(repository, "save=before", "head=main", *asked)
    assert done.returncode == 0, done.stderr
    assert "of main (" in done.stdout
    done = gate(repository, "base=before", "head=wrong", *asked, "output=found.json")
    assert done.returncode == 1, done.stderr
    assert {name: one["condition"] for name, one in remarks(repository).items()} == {"rope 6x16": "newly wrong"}
    assert {one["kernel"].split()[0] for one in json.loads((repository / "found.json").read_text())["verdicts"]} == {"rmsnorm"}
    done = gate(repository, "base=before", "context=32", *asked)
    assert (done.returncode, done.stdout) == (3, "")
    assert "baseline before was saved under other conditions: context was 64, is 32" in done.stderr


@pytest.mark.parametrize(
    ("branch", "limit", "words"), [("hangs", "10", "did not answer within 10 s"), ("dies", "60", "ended with signal 6")]
)
def test_a_kernel_that_takes_its_process_with_it_is_named_and_the_others_are_measured(repository, branch, limit, words):
    done = gate(
        repository,
        "base=main",
        f"head={branch}",
        "kernel.ops=[rope,norm]",
        "compile_pairs=0",
        f"kernel_limit_s={limit}",
        "output=found.json",
    )
    assert done.returncode == 1, done.stderr
    (name,) = found = remarks(repository)
    assert found[name]["condition"] == "newly wrong"
    assert words in found[name]["reason"]
    assert "rmsnorm" in done.stdout


def test_a_head_that_does_not_import_is_not_comparable(repository):
    done = gate(repository, "base=main", "head=broken", "kernel=rope")
    assert done.returncode == 3
    (sentence,) = done.stderr.splitlines()
    assert sentence.startswith("roofcast: not comparable: head, broken (")
    assert "no_such_module" in sentence


def test_other_dependencies_that_cannot_be_had_are_not_comparable(repository, tmp_path):
    offline = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "XDG_CACHE_HOME": str(tmp_path)}
    done = gate(repository, "base=main", "head=locked", "kernel=rope", **offline)
    assert done.returncode == 3
    (sentence,) = done.stderr.splitlines()
    assert "each needs an environment of its own, and that of base cannot be built: pip says: ERROR: " in sentence


def test_a_run_that_is_killed_leaves_no_process_and_nothing_in_the_way_of_the_next(repository, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = (sys.executable, "-m", "roofcast.harness", "gate", *QUICK, "base=main", "head=hangs", "kernel=rope")
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        workers = wait_for(lambda: len(found := psutil.Process(process.pid).children()) == 2 and found)
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert len(worktrees(repository)) == 3
    done = gate(repository, "base=nowhere", "head=main")
    assert done.returncode == 4
    assert len(worktrees(repository)) == 1
    assert not list(tmp_path.iterdir())


def wait_for(condition):
    for _ in range(600):
        if found := condition():
            return found
        time.sleep(0.1)
    raise AssertionError("it did not come within a minute")


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("base=nowhere", "base must be a commit, branch or tag that is here; got 'nowhere'"),
        ("base=HEAD~99", "base must be a commit, branch or tag that is here; got 'HEAD~99'"),
        ("least=0", "least must be a number above 0 and below 1; got 0"),
        ("most_quads=5", "most_quads must be a whole number from 6; got 5"),
        ("kernel=step", "kernel must be ops of a decode step; got step"),
        ("output=found.csv", "output must be a file ending in .md, .json or .xml"),
        ("nonsense=1", "nonsense is not a key of roofcast gate"),
        ("save=../one", "save must be a name of letters, digits, dots, dashes and underscores; got '../one'"),
        ("save=main", "save must be a name that no commit, branch or tag has; got 'main'"),
        ("residency=hot", "residency must be one of cold, warm; got 'hot'"),
    ],
)
def test_bad_input_is_one_sentence_and_code_4(repository, override, words, monkeypatch, capsys):
    monkeypatch.chdir(repository)
    assert cli.run(["gate", *QUICK, override]) == 4
    said = capsys.readouterr().err
    assert words in said
    assert len(said.splitlines()) == 1


def worktrees(repository):
    listed = subprocess.run(("git", "-C", repository, "worktree", "list"), capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_nothing_is_left_in_the_repository(repository):
    assert len(worktrees(repository)) == 1
