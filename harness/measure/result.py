"""What a session knows of its machine, and what came of each kernel."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from ...kernels.op import Workload
from ..store.figures import Bound, Followed
from ..store.record import Status
from .budget import Budget
from .ceilings import Limits
from .compiled import Compiled
from .cost_check import XlaCost
from .prepare import Kernel
from .rounds import Series
from .statistics import Interval
from .timer import HOST, Timer


@dataclass(frozen=True)
class Timed:
    """What a kernel's samples say.

    Attributes:
        latency_us: median and interval over the samples used.
        ratio: floor over time; each sample against the probes beside it, or of what follows its core at the calm level.
        floor_us: the floor at the calm level of the ceilings.
        bound: what binds the kernel.
        calm: mask of the samples that no probe of what the kernel follows calls disturbed.
        disturbance: how much of that was gone; 0 where enough calm samples were found.
        follows: what the kernel's time follows.
        level: of the memory, that its operands come from; "" where it cannot be told, so that `ratio` means nothing.
    """

    latency_us: Interval
    ratio: Interval
    floor_us: float
    bound: Bound
    calm: np.ndarray
    disturbance: float
    follows: Followed = "machine"
    level: str = ""


def words(error: Exception) -> str:
    """The reason of what failed: an error's kind and its first line."""
    return f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"


@dataclass(frozen=True)
class Result:
    """What came of one workload with one implementation. Fields after `reason` are None where it did not get so far.

    `programs_s` is seconds of compiling all that it runs, the timed loop included.
    """

    workload: Workload
    implementation: str
    status: Status
    reason: str = ""
    error: float | None = None
    compiled: Compiled | None = None
    xla: XlaCost = field(default_factory=XlaCost)
    kernel: Kernel | None = None
    series: Series | None = None
    timed: Timed | None = None
    programs_s: float = 0.0

    @property
    def method(self) -> str:
        """How samples are taken, in words, and of what where that stands in for the workload; "" where there are none."""
        if self.kernel is None:
            return ""
        of = "" if self.kernel.workload == self.workload else f" of {self.kernel.workload.label}"
        return self.kernel.method + of

    @property
    def calm(self) -> Sequence[bool]:
        """Per sample, whether the machine was ours; nothing is known of a refused kernel's."""
        count = len(self.series.seconds) if self.series else 0
        return [bool(one) for one in self.timed.calm] if self.timed else [False] * count


@dataclass(frozen=True)
class Machine:
    """What a session knows of where it runs.

    Attributes:
        backend: JAX's name of it.
        budget: of memory.
        limits: measured ceilings and the probes that go on.
        usual_read_gbs, usual_multiply_add_gflops: calm rates of earlier runs on this host, None without history.
        usual_core_turns_per_us: likewise of its core's probe.
        timer: what times the calls, and the probes beside them.
    """

    backend: str
    budget: Budget
    limits: Limits
    usual_read_gbs: float | None = None
    usual_multiply_add_gflops: float | None = None
    usual_core_turns_per_us: float | None = None
    timer: Timer = HOST
