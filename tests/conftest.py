"""Settings of every test: JAX on the CPU, annotations checked at run time, and the same random numbers each time."""

import os
import re
from pathlib import Path

# Before JAX is imported by any test: whether there is a GPU must not change what is tested here.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
# Matrices here are small: threads that wait for one another, on cores that others use too, take ten times as long.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from hypothesis import settings
from jaxtyping import install_import_hook

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
