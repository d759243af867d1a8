"""The machine itself as the base of a comparison: for each kernel, the least time that its ceilings allow just now.

It says what `worker` says, so that a kernel and its floor are sampled by turns as two revisions are. Their ratio is the
kernel's share of the ceiling, which a machine that is slower today changes less than a time.
"""

from __future__ import annotations

import math
from typing import Any

from ...kernels.peak import Peak
from ...kernels.stream import Stream
from ..host.host import fingerprint
from ..measure.caches import Caches
from ..measure.device import backend_and_kind
from ..measure.guard import floor
from ..measure.probes import dispatch_probe, fastest
from .worker import Worker, serve

_CHAINS = 4096
"""Of multiply-adds and of steps in each: what `bench` measures its ceiling with."""


class Yardstick(Worker):
    """Knows a revision's kernels by what they must do at the least, and runs none of them."""

    def __init__(self) -> None:
        super().__init__()
        backend, _ = backend_and_kind()
        far = Stream(kind="read", elements=int(Caches.told(fingerprint().last_level_cache_bytes).rotation_bytes) // 4)
        self._read = fastest(far, backend)
        self._multiply_add = fastest(Peak(kind="multiply_add", format="f32", size=_CHAINS, repeats=_CHAINS), backend)
        self._dispatch_s = dispatch_probe()

    def prepare(self, kernel: str, dispatch_us: float) -> dict[str, Any]:
        """There is nothing to prepare: says how long the kernel takes at the least."""
        return {"status": "ok", "reason": "", "implementation": "", "exact": {}} | self.repeat(kernel, 1)

    def repeat(self, kernel: str, calls: int) -> dict[str, Any]:
        """Likewise; the probes know how often they call."""
        return {"is_direct": True, "calls": calls} | self.sample(kernel)

    def sample(self, kernel: str) -> dict[str, float]:
        """The floor, in seconds per call: memory, arithmetic or an empty call, whichever takes longest on the probes of now."""
        cost = self._kernels[kernel][0].cost()
        rates = {"read_gbs": self._read.rate(), "peak_gflops": self._multiply_add.rate()}
        return {"seconds": max(floor(cost, cache_gbs=math.inf, **rates).us / 1e6, self._dispatch_s())}


if __name__ == "__main__":
    serve(Yardstick)
