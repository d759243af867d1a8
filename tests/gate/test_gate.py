"""The gate from end to end, in a repository made of this checkout. What is asserted does not hang on any time."""

import itertools
import json
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import yaml
from roofcast.harness import cli
from roofcast.harness.gate import command
from roofcast.harness.gate.selftest import command as selftest
from roofcast.harness.gate.worker import Worker
from roofcast.harness.measure import timer

ROOT = Path(__file__).parent.parent.parent
MODEL = (Path(__file__).parent.parent / "tiny.yaml").read_text(encoding="utf-8")
QUICK = (
    "least_quads=6",
    "most_quads=6",
    "confirmations=1",
    "most_confirmations=1",
    "budget_s=1",
    "context=64",
    "model=tiny.yaml",
)
KERNELS = Path("kernels")
ROPE = KERNELS / "rope" / "xla.py"


def git(folder, *arguments):
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(("git", "-C", folder, *who, *arguments), check=True)


def change(folder, branch, file, old, new, start="main"):
    """A branch that differs from another in one line."""
    git(folder, "checkout", "-qB", branch, start)
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
    # On top of the one that hangs.
    change(
        folder,
        "bad",
        KERNELS / "activation" / "xla.py",
        "    function, ",
        "    import os\n    os.abort()\n    function, ",
        "hangs",
    )
    change(folder, "bad", KERNELS / "norm" / "xla.py", "stream + residual", "stream - residual", "bad")
    change(folder, "locked", Path("requirements") / "run.txt", "==", "==9")
    git(folder, "checkout", "-q", "main")
    return folder


@pytest.fixture
def here(repository, small_machine, monkeypatch):
    """Inside the repository, on a machine with small caches."""
    monkeypatch.chdir(repository)
    monkeypatch.setenv("PYTHONPATH", small_machine)


@pytest.fixture
def gate(here, capsys):
    """Runs the verb in this process, which has imported what it needs, inside the repository."""

    def run(*arguments):
        code = cli.run(["gate", *QUICK, *arguments])
        said = capsys.readouterr()
        return SimpleNamespace(code=code, out=said.out, err=said.err)

    return run


@contextmanager
def stopped_after_one_round(*, is_there):
    """In place of the neighbour: presses Ctrl-C when the second round is begun."""
    assert is_there
    kept = selftest.Shelf.add

    def add(shelf, one):
        kept(shelf, one)
        print("round 1: 1 comparisons kept", file=sys.stderr)
        raise KeyboardInterrupt

    selftest.Shelf.add = add
    try:
        yield
    finally:
        selftest.Shelf.add = kept


def remarks(repository):
    return {one["kernel"]: one for one in json.loads((repository / "found.json").read_text())["remarks"]}


def verdicts(repository):
    return {one["kernel"]: one for one in json.loads((repository / "found.json").read_text())["verdicts"]}


def test_unchanged_revisions_are_compared_in_every_quantity(gate, repository, tmp_path, monkeypatch):
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "s"))
    done = gate("base=HEAD", "kernel=rope", "compile_pairs=2", "budget_s=60", "output=found.json")
    assert done.err == ""
    found = json.loads((repository / "found.json").read_text())
    assert done.code == found["exit_code"]
    assert {one["quantity"]: one["kernel"] for one in found["verdicts"]} == {
        "latency": "rope 6x16",
        "compile time": "rope 6x16",
    }
    assert (found["remarks"], found["exact_changes"], found["changed_code"]) == ([], [], {})
    assert (tmp_path / "s").read_text().startswith("## roofcast gate: ")


def test_a_self_test_goes_on_where_it_was_stopped_and_shows_its_rates(here, capsys):
    asked = ("gate", "selftest", *QUICK, "kernel.ops=[rope]", "peer_s=0.01", "slowdowns=[0.5]", "load=true", "results=kept")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(selftest, "neighbour", stopped_after_one_round)
        assert cli.run([*asked, "comparisons=2"]) == cli.INTERRUPTED
    assert cli.run([*asked, "comparisons=2"]) == 0
    said = capsys.readouterr()
    assert [line for line in said.err.splitlines() if line.startswith("round")] == [
        "round 1: 1 comparisons kept",
        "round 2: 2 comparisons kept",
    ]
    assert "smallest slow-down that is found 90% of the time" in said.out


def test_kernels_that_became_wrong_or_end_their_process_are_named_and_the_others_are_measured(gate, repository):
    ops = "kernel.ops=[rope,norm,activation]"
    done = gate("base=main", "head=bad", ops, "compile_pairs=0", "kernel_limit_s=10", "output=found.json")
    assert done.code == 1, done.err
    found = remarks(repository)
    assert {one["condition"] for one in found.values()} == {"newly wrong"}
    reasons = {name.split()[0]: one["reason"] for name, one in found.items()}
    assert list(verdicts(repository)) == ["rmsnorm 64 bf16"]
    assert reasons.pop("rmsnorm").startswith("wrong: ")
    assert "did not answer within 10 s" in reasons.pop("rope")
    (silu,) = reasons.values()
    assert "ended with signal 6" in silu
    assert "newly wrong: " in done.out


def test_a_baseline_is_saved_and_later_revisions_are_held_against_it(gate, repository, monkeypatch):
    asked = ("kernel.ops=[rope,activation]", "results=kept")
    # Whether two agree depends on the machine, which is not what is tested.
    monkeypatch.setattr(command, "agreeing", lambda bench, budget_s: (bench.run(0.0),) * 2)
    done = gate("save=before", "head=wrong", *asked)
    assert done.code == 0, done.err
    assert "1 kernels of wrong (" in done.out
    gate("base=before", "head=main", *asked, "output=found.json")
    assert remarks(repository)["rope 6x16"]["condition"] == "mended"
    assert [name.split()[0] for name in verdicts(repository)] == ["silu"]
    done = gate("base=before", "context=32", *asked)
    assert (done.code, done.out) == (3, "")
    assert "baseline before was saved under other conditions: context was 64, is 32" in done.err


def test_a_step_that_does_not_fit_in_memory_twice_is_refused(gate, monkeypatch):
    monkeypatch.setattr(command, "free_bytes", lambda: 2e4)
    done = gate("base=main", "kernel.ops=[step]")
    assert done.code == 4
    assert "kernel must be ops whose operands fit in memory twice; got step: " in done.err


def test_a_step_that_does_not_fit_is_left_out_where_kernels_were_asked_for_too(gate, monkeypatch):
    monkeypatch.setattr(command, "free_bytes", lambda: 2e4)
    # Nothing need be measured to hear of it.
    done = gate("base=nowhere")
    assert "the whole step is left out: kernel must be ops whose operands fit in memory twice" in done.err
    assert "base must be a commit" in done.err


def test_each_revision_by_its_own_harness_and_a_suite_besides_kernels(repository, gate):
    """The base's harness and its suite fail; what measures the head is the head's."""
    git(repository, "checkout", "-q", "main")
    (repository / "own").mkdir()
    (repository / "own" / "test_own.py").write_text("def test_own(benchmark):\n    benchmark(sum, range(9))\n")
    git(repository, "checkout", "-qb", "own")
    git(repository, "add", "own")
    git(repository, "commit", "-qm", "own")
    change(repository, "slow", Path("harness/measure/prepare.py"), "def outputs(", "raise OSError\n\n\ndef outputs(", "own")
    done = gate("base=own", "head=slow", "kernel=rope", "also=own")
    assert done.code == 0, done.err
    assert "own/test_own.py::test_own" in done.out
    done = gate("base=own", "head=slow", "kernel=rope", "also=own", "harness=own")
    assert done.code == 3
    assert "head, slow (" in done.err
    assert "OSError (harness/measure/prepare.py" in done.err


@pytest.mark.parametrize(
    ("keys", "words"),
    [
        (("harness=mine",), "harness must be one of gate, own"),
        (("suite=own", "also=own"), "also must be null where suite is given"),
        (("save=before", "harness=own"), "also and harness must not be given with a baseline"),
    ],
)
def test_keys_that_do_not_go_together_are_refused(gate, keys, words):
    done = gate("base=main", *keys) if "save=before" not in keys else gate(*keys)
    assert done.code == 4
    assert words in done.err


def question(**keys):
    formats = {"weight": "bf16", "kv": "bf16", "activation": "f32"}
    plan = {"model": yaml.safe_load(MODEL), "format": formats, "context": 64, "sampling": "greedy", "fused": False}
    plan |= {"device": None, "devices": 1, "targets": []}
    return {"plan": plan, "ops": ["rope"], "layers": 1, "implementation": "default", **keys}


def test_the_whole_step_of_some_layers_is_one_kernel_more():
    opened = Worker().open(question(ops=["rope", "step"]))
    assert list(opened["kernels"]) == ["rope 6x16", "step tiny 1 layers bf16"]


def test_a_kernel_that_was_prepared_beside_somebody_else_is_settled_before_it_is_sampled(monkeypatch):
    """A call seems to take a second until its samples are planned, and then what it takes."""
    late_s = itertools.count()
    clock = SimpleNamespace(perf_counter=lambda: time.perf_counter() + min(next(late_s), 8))
    monkeypatch.setattr(timer, "time", clock)
    worker = Worker()
    worker.open(question(residency="warm", free_bytes=1e9, seed=0))
    ready = worker.prepare("rope 6x16", dispatch_us=1e4)
    assert (ready["status"], ready["is_direct"]) == ("ok", False)
    assert ready["calls"] > 20


def test_a_head_that_does_not_import_is_not_comparable(gate):
    done = gate("base=main", "head=broken", "kernel=rope")
    assert done.code == 3
    (sentence,) = done.err.splitlines()
    assert sentence.startswith("roofcast: not comparable: head, broken (")
    assert "no_such_module" in sentence


def test_other_dependencies_that_cannot_be_had_are_not_comparable(gate, tmp_path, monkeypatch):
    for name, value in {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "XDG_CACHE_HOME": str(tmp_path)}.items():
        monkeypatch.setenv(name, value)
    done = gate("base=main", "head=locked", "kernel=rope")
    assert done.code == 3
    (sentence,) = done.err.splitlines()
    assert "each needs an environment of its own, and that of base cannot be built: pip says: ERROR: " in sentence


def test_a_run_that_is_killed_leaves_no_process_and_nothing_in_the_way_of_the_next(gate, repository, tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    command = (sys.executable, "-m", "roofcast.harness", "gate", *QUICK, "base=main", "head=hangs", "kernel=rope")
    with subprocess.Popen(command, cwd=repository, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        workers = wait_for(lambda: len(found := psutil.Process(process.pid).children()) == 2 and found)
        process.kill()
    _, alive = psutil.wait_procs(workers, timeout=60)
    assert not alive
    assert len(worktrees(repository)) == 3
    assert gate("base=nowhere", "head=main").code == 4
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
        ("output=found.csv", "output must be a file ending in .md, .json or .xml"),
        ("nonsense=1", "nonsense is not a key of roofcast gate"),
        ("save=../one", "save must be a name of letters, digits, dots, dashes and underscores; got '../one'"),
        ("save=main", "save must be a name that no commit, branch or tag has; got 'main'"),
        ("residency=hot", "residency must be one of cold, warm; got 'hot'"),
    ],
)
def test_bad_input_is_one_sentence_and_code_4(gate, override, words):
    done = gate(override)
    assert done.code == 4
    assert words in done.err
    assert len(done.err.splitlines()) == 1


def worktrees(repository):
    listed = subprocess.run(("git", "-C", repository, "worktree", "list"), capture_output=True, text=True, check=True)
    return listed.stdout.splitlines()


def test_nothing_is_left_in_the_repository(repository):
    assert len(worktrees(repository)) == 1
