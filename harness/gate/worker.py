"""The process of one revision: prepares, samples and compiles kernels on request, one line of JSON for another.

The measuring code is the same for both revisions, that of the gate which was started; only `kernels` and `conf` are the
revision's. So a change of how kernels are timed is never taken for a change of the kernels. With `harness=own` each revision
measures itself, and such a change is what is looked for.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jax
from omegaconf import OmegaConf

from ... import kernels
from ...kernels import check
from ...kernels.op import Implementation, Workload
from ...kernels.registry import op_names
from ..errors import UsageError
from ..host.host import fingerprint
from ..measure.budget import Budget
from ..measure.cache_levels import Levels
from ..measure.caches import Caches
from ..measure.ceilings import Limits
from ..measure.choice import chosen
from ..measure.compiled import Compiled, compile_call
from ..measure.device import backend_and_kind
from ..measure.prepare import Kernel, needed_bytes, prepare
from ..measure.probes import Probe, dispatch_s
from ..measure.prove import ready, stand_in
from ..measure.result import Machine, Result
from ..measure.settle import settle
from ..steps.plan import plan
from ..store.figures import Ceilings
from .orphan import end_with_parent

_PEER_LEAST = 5
"""Rounds that pytest-benchmark takes at least (`--benchmark-min-rounds`)."""


class Worker:
    """What one revision can be asked. Every method takes and returns what JSON can say."""

    def __init__(self) -> None:
        self._kernels: dict[str, tuple[Workload, Implementation]] = {}
        self._prepared: dict[str, Kernel] = {}
        self._compiled: dict[str, tuple[Workload, Compiled]] = {}
        self._question: Mapping[str, Any] = {}

    def open(self, question: Mapping[str, Any]) -> dict[str, Any]:
        """Takes the question and tells of this process and of the kernels that the question asks for here."""
        self._question = question
        backend, device_kind = backend_and_kind()
        here = fingerprint(backend=backend, device_kind=device_kind)
        caches = Caches.told(here.last_level_cache_bytes)
        asked = plan(OmegaConf.create(question["plan"]))  # type: ignore[arg-type]
        ops = [op for op in question["ops"] if op in op_names()]
        refused: dict[str, str] = {}
        wholes = asked.steps((question["layers"],)) if question["layers"] else {}
        for workload in (*asked.calls(ops), *wholes):
            able, reasons = chosen(workload, question["implementation"], backend)
            named = question["implementation"] != "default"
            for one in able:
                self._kernels[f"{workload.label} by {one.name}" if named else workload.label] = (workload, one)
            if not able:
                refused[workload.label] = "; ".join(f"{name}: {reason}" for name, reason in reasons.items())
        return {
            "kernels": {name: needed_bytes(stand_in(one, caches, "cold"), caches) for name, (one, _) in self._kernels.items()},
            "refused": refused,
            "home": str(Path(kernels.__file__ or "").parent.resolve().parent),
            "host": {"python": here.python_version, "jax": here.jax_version, "jaxlib": here.jaxlib_version, "backend": backend},
            "dispatch_us": 1e6 * dispatch_s(),
        }

    def prepare(self, kernel: str, dispatch_us: float) -> dict[str, Any]:
        """Proves a kernel right and makes it ready to be sampled."""
        workload, one = self._kernels[kernel]
        results = {kernel: self._ready(kernel, workload, one, dispatch_us)}
        settle(results, kernel)
        result = results[kernel]
        if result.kernel is not None:
            self._prepared[kernel] = result.kernel
        xla = asdict(result.xla)
        return {
            "status": result.status,
            "reason": result.reason,
            "implementation": one.name,
            "exact": {
                "XLA's FLOPs": xla["flops"],
                "XLA's bytes": xla["bytes"],
                "peak memory (bytes)": xla["peak_bytes"],
            },
        } | (_sampling(result.kernel) if result.kernel else {})

    def repeat(self, kernel: str, calls: int) -> dict[str, Any]:
        """Makes a kernel ready again, to be sampled in a compiled loop of so many calls."""
        workload, compiled = self._compiled[kernel]
        # The memory of both at once may not be there.
        del self._prepared[kernel]
        self._prepared[kernel] = prepare(
            workload,
            self._kernels[kernel][1],
            compiled,
            check.draw(workload, self._question["seed"]),
            residency=self._question["residency"],
            caches=Caches.told(fingerprint().last_level_cache_bytes),
            dispatch_s=0.0,
            calls=calls,
        )
        return _sampling(self._prepared[kernel])

    def sample(self, kernel: str) -> dict[str, float]:
        """One sample, in seconds per call."""
        return {"seconds": self._prepared[kernel].sample()}

    def series(self, kernel: str, seconds: float) -> dict[str, Any]:
        """Samples one after the other as pytest-benchmark takes them: for so many seconds by the first, and at least five."""
        sample = self._prepared[kernel].sample
        calls = self._prepared[kernel].calls_per_sample
        rounds = max(_PEER_LEAST, math.ceil(seconds / (calls * sample())))
        return {"samples": [calls * sample() for _ in range(rounds)]}

    def compile(self, kernel: str) -> dict[str, float]:
        """Lowers and compiles a prepared kernel anew, in seconds."""
        workload, _ = self._compiled[kernel]
        # Traces of the last time would make this one shorter.
        jax.clear_caches()
        compiled = compile_call(workload, self._kernels[kernel][1], check.shapes(workload))
        return {"seconds": compiled.lower_s + compiled.compile_s}

    def release(self) -> dict[str, Any]:
        """Lets go of what was prepared, so that others have the memory."""
        self._prepared.clear()
        return {}

    def _ready(self, kernel: str, workload: Workload, one: Implementation, dispatch_us: float) -> Result:
        here = fingerprint()
        # Nothing here is held against a ceiling: the other revision's sample is the measure.
        unknown = Ceilings(
            read_gbs=math.inf, copy_gbs=math.inf, triad_gbs=math.inf, multiply_add_gflops=math.inf, dispatch_us=dispatch_us
        )
        silent = Probe("none", lambda: math.inf)
        machine = Machine(
            backend=jax.default_backend(),
            budget=Budget(self._question["free_bytes"], self._question["free_bytes"] / 2),
            limits=Limits(unknown, Levels((), math.inf, 0.0), Caches.told(here.last_level_cache_bytes), silent, silent),
        )

        drawn: dict[str, Workload] = {}

        def draw(call: Workload) -> Mapping[str, Any]:
            # A huge workload is measured by a smaller one in its place: that is what is compiled.
            drawn[kernel] = call
            return check.draw(call, self._question["seed"])

        result = ready(workload, one, machine, self._question["residency"], draw)
        if result.compiled is not None:
            self._compiled[kernel] = drawn[kernel], result.compiled
        return result


def _sampling(kernel: Kernel) -> dict[str, Any]:
    """How a kernel is sampled, with the shortest of three samples in seconds per call."""
    return {
        "is_direct": kernel.method.startswith("direct"),
        "calls": kernel.calls_per_sample,
        "seconds": min(kernel.sample() for _ in range(3)),
    }


def serve(kind: type[Worker]) -> None:
    """Answers requests from standard input until it ends, as it does when the gate is gone."""
    # Whatever a library prints must not be taken for an answer.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    # A program found on the disk would be a compile time of nothing.
    jax.config.update("jax_enable_compilation_cache", False)
    end_with_parent()
    worker = kind()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = getattr(worker, request.pop("do"))(**request)
        except UsageError as error:
            answer = {"refusal": str(error)}
        except Exception as error:
            answer = {"refusal": f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve(Worker)
