"""A neighbour that takes a core half of the time."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

LONGEST_S = 0.5
"""Of a spell of work or of rest; a sample of a kernel lasts some milliseconds."""

_BURNER = """
import os, random, sys, time
rng = random.Random(0)
while os.getppid() == int(sys.argv[1]):
    spell = rng.uniform(0.01, float(sys.argv[2]))
    end = time.monotonic() + spell
    while time.monotonic() < end:
        pass
    time.sleep(spell)
"""


@contextmanager
def neighbour(*, is_there: bool) -> Iterator[None]:
    """Runs one until the end of the block, or until whoever started it is gone."""
    if not is_there:
        with nullcontext():
            yield
        return
    # It is told whose child it is: asked later, the system may name whoever adopts orphans.
    burner = subprocess.Popen([sys.executable, "-c", _BURNER, str(os.getpid()), str(LONGEST_S)])
    try:
        yield
    finally:
        burner.kill()
        burner.wait()
