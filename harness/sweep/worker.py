"""The process that measures for a sweep: one configuration after another, each a line of JSON, answered by lines of JSON.

It ends with the process that started it, in whatever way that ends: then its standard input does too.
"""

from __future__ import annotations

import json
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

from omegaconf import DictConfig, OmegaConf

from ...kernels import room
from ..errors import UsageError
from ..host.exclusive import Device
from ..host.memory import free_bytes

_KEPT_SHARE = 1 / 16
"""Of the memory that is free, that may lie ready for the next job's operands."""
_MOST_OFTEN_S = 0.5
"""Between two words about how far a measurement is: each costs the measured machine something."""


def main() -> None:
    """Answers on the file descriptor that is the only argument; what is printed goes to standard error."""
    answers = os.fdopen(int(sys.argv[1]), "w", encoding="utf-8")
    jobs: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(jobs,), daemon=True).start()

    def say(**answer: Any) -> None:
        print(json.dumps(answer), file=answers, flush=True)

    room.keep(_KEPT_SHARE * free_bytes())
    # JAX takes seconds of a CPU to import. What it does not like about its environment is the first job's failure.
    with suppress(Exception), Device("cpu").shared():
        from . import bench as bench

    while True:
        job = json.loads(jobs.get())
        config = OmegaConf.create(job["config"])
        assert isinstance(config, DictConfig)
        measure(config, job["overrides"], say, Path(job["sweep"]) if job["sweep"] else None)


def _listen(jobs: queue.Queue[str]) -> None:
    for line in sys.stdin:
        jobs.put(line)
    # Nobody is left to take an answer, and the device is another's to use. The store's files appear whole or not at all.
    os._exit(0)


def measure(config: DictConfig, overrides: str, say: Callable[..., None], sweep: Path | None) -> None:
    """Measures one configuration and says how far it is and, last, what came of it.

    Args:
        sweep: its folder; None outside of one.
    """
    last = 0.0

    def progress(what: str, share: float) -> None:
        nonlocal last
        if (now := time.monotonic()) - last >= _MOST_OFTEN_S:
            last = now
            say(doing=what, share=share)

    try:

        def waiting(is_waiting: bool) -> None:
            say(waiting=is_waiting)

        with Device("cpu", waiting).shared():
            from . import bench

        kept = bench.measure(config, overrides, progress, waiting, sweep)
    except UsageError as error:
        say(refused=str(error))
    except KeyboardInterrupt:
        # What was finished is in the store by now.
        sys.exit(1)
    except Exception as error:
        say(failed=_words(error))
    else:
        say(exit_code=kept.exit_code, complaint=kept.complaint, run_id=kept.run_id, **asdict(kept.spent))


def _words(error: Exception) -> str:
    """One sentence with the place in the code, for whoever mends it."""
    place: IO[str] | Any = traceback.extract_tb(error.__traceback__)[-1]
    said = " ".join(str(error).split())[:300]
    return f"{type(error).__name__}: {said} ({Path(place.filename).name}:{place.lineno})"


if __name__ == "__main__":
    main()
