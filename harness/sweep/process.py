"""The sweep's end of a worker: starts it, gives it jobs, and gives up on one that takes too long."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from typing import Any

_TO_SAVE_S = 20.0
"""What a worker that is told to stop may take to keep what it has finished."""


class WorkerLostError(Exception):
    """A worker ended; the text says how, and its last words."""


class TimeLimitError(Exception):
    """A job took longer than it may, and its worker was ended."""


class Process:
    """A worker, which stays warm from job to job.

    Args:
        environment: variables that it has beside those of this process.
    """

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._complaints = tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace")  # noqa: SIM115
        reading, writing = os.pipe()
        self._process = subprocess.Popen(
            [sys.executable, "-m", "roofcast.harness.sweep.worker", str(writing)],
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=self._complaints,
            stderr=self._complaints,
            pass_fds=(writing,),
            text=True,
            # An interrupt from the keyboard reaches a worker once, from `interrupt`.
            start_new_session=True,
        )
        os.close(writing)
        self._answers = reading
        self._unread = b""

    def measure(
        self,
        config: Any,
        overrides: str,
        limit_s: float | None,
        doing: Callable[[str, float], None],
        sweep: str | None = None,
    ) -> Mapping[str, Any]:
        """The last word on a job.

        Args:
            config: the configuration as JSON can say it.
            overrides: what repeats it.
            limit_s: what it may take, waiting for the device left out; None for as long as it takes.
            doing: told what is being done, and the share of the job that is done.
            sweep: the folder of the sweep that it is a job of.

        Raises:
            TimeLimitError: if it takes longer.
            WorkerLostError: if the process ends.
        """
        assert self._process.stdin is not None
        try:
            print(json.dumps({"config": config, "overrides": overrides, "sweep": sweep}), file=self._process.stdin, flush=True)
        except BrokenPipeError:
            raise WorkerLostError(self._last_words()) from None
        for answer in self._lines(limit_s):
            if "doing" in answer:
                doing(answer["doing"], answer["share"])
            elif answer.get("waiting"):
                doing("waiting for another measurement on this device", 0.0)
            elif "waiting" not in answer:
                self._pass_on()
                return answer
        raise WorkerLostError(self._last_words())

    def interrupt(self) -> None:
        """Ends the process as an interrupt from the keyboard would: what it has finished is kept."""
        self._process.send_signal(signal.SIGINT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_TO_SAVE_S)
        self.close()

    def close(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        with suppress(OSError):
            os.close(self._answers)
        for stream in (self._process.stdin, self._complaints):
            # What was not read in time by a process that is gone.
            with suppress(BrokenPipeError):
                if stream is not None:
                    stream.close()

    def _lines(self, limit_s: float | None) -> Iterator[dict[str, Any]]:
        """Answers until the process ends; the clock stands still while the job waits for the device."""
        left, is_waiting = limit_s, False
        while True:
            start = time.monotonic()
            ready, _, _ = select.select([self._answers], [], [], None if is_waiting else left)
            if left is not None and not is_waiting:
                left = max(0.0, left - (time.monotonic() - start))
            if not ready:
                raise TimeLimitError(f"it took longer than timeout={limit_s:g} s and was stopped")
            chunk = os.read(self._answers, 65536)
            if not chunk:
                return
            *lines, self._unread = (self._unread + chunk).split(b"\n")
            for line in lines:
                answer = json.loads(line)
                is_waiting = answer.get("waiting", is_waiting)
                yield answer

    def _said(self) -> str:
        self._complaints.seek(0)
        said = self._complaints.read()
        self._complaints.seek(0)
        self._complaints.truncate()
        return said

    def _pass_on(self) -> None:
        """What libraries and the measuring code had to say."""
        print(self._said(), end="", file=sys.stderr)

    def _last_words(self) -> str:
        code = self._process.wait()
        lines = [line.strip() for line in self._said().splitlines() if line.strip()]
        how = f"its process ended with {signal.Signals(-code).name}" if code < 0 else f"its process ended with code {code}"
        return f"{how}: {lines[-1]}" if lines else how
