"""Kernel durations by CUPTI, through JAX's own profiler.

No session of this program has run on a GPU yet. What is checked is the reading of profiles: synthetic ones of a GPU and real
ones of the CPU. Not known: how long a session takes to begin and end on a GPU; whether CUPTI's own work, between the kernels,
lets clocks fall; whether XLA replays CUDA graphs while a profiler is on, whose kernels then carry the graph's launch. Gaps
between kernels do not count in any case.
"""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp

from ..errors import UsageError
from .kernel_times import CALL, ProfileError, device_seconds
from .timer import Call, Timer

NAME = "cupti"
TRIAL_CALLS = 3


def device_timer() -> Timer:
    """The device's timer, after a trial.

    Raises:
        UsageError: with the reason, if it does not work here.
    """
    product = jax.jit(jnp.dot).lower(*[jax.ShapeDtypeStruct((512, 512), jnp.float32)] * 2).compile()
    x = jnp.ones((512, 512))
    jax.block_until_ready(product(x, x))
    seconds([lambda: jax.block_until_ready(product(x, x))] * TRIAL_CALLS)
    return Timer(NAME, seconds, on_device=True)


def seconds(calls: Sequence[Call], between: Call | None = None) -> float:
    """Runs calls in one profiler session and returns the seconds that the device was busy with them.

    Args:
        calls: each returns when its results are there.
        between: run before each call and not counted.

    Raises:
        UsageError: if the profiler does not start or does not tell.
    """
    with tempfile.TemporaryDirectory(prefix="roofcast-") as folder:
        try:
            _traced(calls, between, folder)
            with warnings.catch_warnings():
                # jaxlib's own types deprecate themselves when they are first used, and abort where that is an error.
                warnings.simplefilter("ignore", DeprecationWarning)
                return sum(device_seconds(_profile(Path(folder)), len(calls)))
        except (ProfileError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise UsageError(f"timing.timer must be host where kernels cannot be timed on the device: {reason}") from None


def _traced(calls: Sequence[Call], between: Call | None, folder: str) -> None:
    options = jax.profiler.ProfileOptions()
    # Python's own calls and the programs' text would be most of the profile.
    options.python_tracer_level = 0
    options.enable_hlo_proto = False
    jax.profiler.start_trace(folder, profiler_options=options)
    try:
        for call in calls:
            if between is not None:
                between()
            with jax.profiler.TraceAnnotation(CALL):
                call()
    finally:
        jax.profiler.stop_trace()


def _profile(folder: Path) -> Any:
    files = list(folder.rglob("*.xplane.pb"))
    if len(files) != 1:
        raise ProfileError(f"the profiler wrote {len(files)} profiles, not one")
    return jax.profiler.ProfileData.from_file(str(files[0]))
