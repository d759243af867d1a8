"""The gate's end of a worker: starts it on a revision's code, asks it, and gives up on one that does not answer."""

from __future__ import annotations

import json
import os
import queue
import re
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..host.provenance import PACKAGE_FOLDER
from .checkout import Revision

_PLACE = re.compile(r'^File "(?:.*/roofcast/)?(.+)", line (\d+)', re.MULTILINE)
"""A line of a traceback; ours by its place in the package."""


class WorkerLostError(Exception):
    """A worker ended or was ended; the text says why, to be read after the revision's name."""


class RefusedError(Exception):
    """A worker is well, and says why it cannot do what it was asked."""


class Process:
    """A worker on a revision's kernels. Use as a context: on leaving, the process is gone.

    Args:
        revision: whose kernels and configuration it has.
        folder: for the links that make them importable, and what the worker says to nobody.
        suite: what pytest is to collect in the revision's folder; the kernels themselves if empty.
        module: of this package, which speaks for the kernels.
        cores: on which it runs; wherever the gate does if empty.
        own_harness: the revision is measured by its own harness and not by the gate's.
    """

    def __init__(
        self,
        revision: Revision,
        folder: Path,
        suite: Sequence[str] = (),
        module: str = "worker",
        cores: Collection[int] = (),
        *,
        own_harness: bool = False,
    ) -> None:
        _link(revision, folder, own_harness=own_harness)
        self._complaints = open(folder / "stderr.txt", "w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        paths = [str(folder)]
        if suite:
            # Before any editable installation, which would be of one and the same state for both revisions.
            paths += [str(revision.folder), str(revision.folder / "src")]
        if revision.python == sys.executable and (also := os.environ.get("PYTHONPATH")):
            paths.append(also)
        with _on(cores):
            self._process = subprocess.Popen(
                [revision.python, "-m", f"roofcast.harness.gate.{'suite' if suite else module}", *suite],
                # Links would otherwise be resolved from the folder in which the gate was started.
                cwd=revision.folder if suite else folder,
                env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._complaints,
                text=True,
                encoding="utf-8",
            )
        self._answers: queue.Queue[str] = queue.Queue()
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def ask(self, what: str, timeout_s: float, **arguments: Any) -> Mapping[str, Any]:
        """The answer to a request.

        Raises:
            WorkerLostError: if the process ended, or did not answer in time and was ended.
            RefusedError: if it answers that it cannot.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps({"do": what, **arguments}), file=self._process.stdin, flush=True)
            line = self._answers.get(timeout=timeout_s)
        except BrokenPipeError:
            line = ""
        except queue.Empty:
            self.close()
            raise WorkerLostError(f"did not answer within {timeout_s:g} s and was stopped") from None
        if not line:
            raise WorkerLostError(self._last_words())
        answer = json.loads(line)
        if refusal := answer.get("refusal"):
            raise RefusedError(refusal)
        return answer

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        self._listener.join()
        for stream in (self._process.stdin, self._process.stdout, self._complaints):
            if stream is not None:
                try:
                    stream.close()
                except BrokenPipeError:
                    # What was not read in time by a process that is gone.
                    continue

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def _last_words(self) -> str:
        code = self._process.wait()
        self._complaints.seek(0)
        lines = [line.strip() for line in self._complaints if line.strip()]
        how = f"ended with signal {-code}" if code < 0 else f"ended with code {code}"
        # What cannot be parsed names no file in its last line.
        places = _PLACE.findall("\n".join(lines)) if code > 0 else []
        where = f" ({places[-1][0]}, line {places[-1][1]})" if places else ""
        return f"{how}: {lines[-1]}{where}" if lines else how


def cores_but(spare: int) -> tuple[int, ...]:
    """Cores for a process that leaves so many to whoever else runs, but keeps one; none where the system has no such notion.

    A neighbour takes the core that is free. Were none free, it would take turns with the kernel, whose threads then wait
    for the slowest of them (`roofcast gate selftest load=true spare_cores=0` shows what that costs).
    """
    if not hasattr(os, "sched_getaffinity"):
        return ()
    mine = sorted(os.sched_getaffinity(0))
    # The first ones serve the interrupts more often.
    return tuple(mine[min(spare, len(mine) - 1) :])


@contextmanager
def _on(cores: Collection[int]) -> Iterator[None]:
    """Processes that are started within have these cores from their first thread on, as pools of threads are sized early."""
    if not cores:
        yield
        return
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _link(revision: Revision, folder: Path, *, own_harness: bool) -> None:
    """Makes `roofcast` importable from a folder: kernels and configuration of the revision, and the gate's harness or its own.

    A revision of another project has no kernels and gets all of it from the gate.
    """
    package = folder / "roofcast"
    package.mkdir(parents=True)
    ours = PACKAGE_FOLDER.parent
    theirs = revision.folder if (revision.folder / "kernels" / "op.py").is_file() else ours
    for room, home in (("kernels", theirs), ("conf", theirs), ("harness", theirs if own_harness else ours)):
        (package / room).symlink_to(home / room, target_is_directory=True)
