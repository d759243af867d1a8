"""Settings of every test: JAX on the CPU, annotations checked at run time, and the same random numbers each time."""

import atexit
import gc
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

# Before JAX is imported by any test: whether there is a GPU must not change what is tested here.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Matrices here are small: threads that wait for one another, on cores that others use too, take ten times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import psutil
import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Each process of a run has a folder for temporary files: measurements take turns by a lock there, which nobody else is to
# wait for, nor to be waited for by. Compiled programs are found again by all processes of a run, and never by the next run.
_ROOT = os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", tempfile.gettempdir())
os.environ["TMPDIR"] = tempfile.tempdir = tempfile.mkdtemp(prefix="roofcast-", dir=_ROOT)
atexit.register(shutil.rmtree, tempfile.tempdir, ignore_errors=True)
if "PYTEST_XDIST_WORKER" not in os.environ:
    os.environ["XDG_CACHE_HOME"] = str(Path(tempfile.tempdir, "cache"))

KERNELS = Path(__file__).parent.parent / "kernels"
ANNOTATES_ARRAYS = re.compile(r"^from jaxtyping import", re.MULTILINE)
# Numba reads the bodies of its kernels itself and cannot see through a decorator.
USES_NUMBA = re.compile(r"^(from|import) \S*(ffi|numba|llvmlite)\b", re.MULTILINE)
CHECKED = [
    f"roofcast.kernels.{'.'.join(path.relative_to(KERNELS).with_suffix('').parts)}"
    for path in KERNELS.rglob("*.py")
    if ANNOTATES_ARRAYS.search(path.read_text()) and not USES_NUMBA.search(path.read_text())
]
# An int is a float here, as it is to type checkers.
install_import_hook(CHECKED, "beartype.beartype(conf=beartype.BeartypeConf(is_pep484_tower=True))")

# Timings of a shared machine are no reason to fail, and a failure must be there again on the next run.
settings.register_profile("roofcast", deadline=None, derandomize=True, max_examples=25)
settings.load_profile("roofcast")

LONG = (
    *("kernels/test_ops", "gate/test_gate", "docs", "harness/page", "sweep", "gate", "harness/verbs/test_bench"),
    *("harness/predict/test_whole", "kernels/test_attention", "kernels/test_pallas", "kernels/test_families"),
)
"""What takes long, by the beginnings of paths, in the order in which two processes begin them. Last, a long file would keep one
of them busy alone. What compiles most begins beside what compiles nothing, and others find its kernels on the disk."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts long files first; with `--no-loadscope-reorder` they are also begun first."""

    def place(item: pytest.Item) -> int:
        path = item.path.relative_to(Path(__file__).parent).as_posix()
        return next((place for place, beginning in enumerate(LONG) if path.startswith(beginning)), len(LONG))

    items.sort(key=place)


MUCH_BYTES = 2e9


@pytest.fixture(scope="module", autouse=True)
def compiled_programs_are_let_go() -> Iterator[None]:
    """Once they take much: a process that kept those of all files would hold more than four gigabytes."""
    yield
    if (jax := sys.modules.get("jax")) is not None and psutil.Process().memory_info().rss > MUCH_BYTES:
        jax.clear_caches()
        gc.collect()


SMALL = {"L1": 2**15, "L2": 2**18, "L3": 2**20}
"""Bytes of caches, for a machine on which what exceeds them is quickly drawn, copied and read."""
SMALL_FAR = 2**24
"""Bytes that are beyond them."""


@pytest.fixture(scope="session")
def small_machine(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A PYTHONPATH with which roofcast's commands, and the processes that they start, are told of small caches."""
    folder = tmp_path_factory.mktemp("site")
    script = f"""
import sys
if any(word.startswith("roofcast.harness") for word in sys.orig_argv):
    from roofcast.harness.host import linux
    from roofcast.harness.measure import budget
    linux.caches = lambda *_: {SMALL}
    budget.FAR_BYTES = {SMALL_FAR}
"""
    (folder / "sitecustomize.py").write_text(script)
    return os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
