"""A Python function that runs as a multi-threaded custom call inside a JAX program on a CPU."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import cache
from threading import Lock
from typing import Any

import jax
import numpy as np

_COMPILING = Lock()
_REGISTERED: list[Any] = []
"""XLA never forgets a handler, so none may be freed, even if its kernel is."""


class Kernel:
    """A body that is compiled for the dtypes and ranks of its arrays when it is first traced with them. See `kernel`."""

    def __init__(self, body: Callable[..., None]) -> None:
        self.body = body
        self._targets: set[str] = set()

    def __call__(
        self,
        *operands: Any,
        results: Any,
        units: int,
        grain: int | None = 1,
        aliases: Mapping[int, int] | None = None,
        **constants: int | float,
    ) -> Any:
        """Calls the body for the units [0, units), in chunks, on XLA's threads. For use under `jax.jit`.

        Args:
            operands: arrays.
            results: shape and dtype of each array that the body fills: one `jax.ShapeDtypeStruct` or a tuple.
            units: how many units of work there are.
            grain: most units in a chunk; chunks are smaller where that evens out the threads' work. None gives each
                thread one chunk, an even share of all.
            aliases: operand number -> number of the result that takes its place in memory.
            constants: what the body takes after its arrays, by name. Another value does not compile again.

        Returns:
            The results, one array or a tuple as `results` is.
        """
        attributes: dict[str, Any] = {"grain": np.int64(0 if grain is None else max(1, grain)), "units": np.int64(units)}
        scalars = {name: np.int64(v) if isinstance(v, int) else np.float32(v) for name, v in constants.items()}
        outs = jax.tree.leaves(results)
        types = [f"{np.dtype(one.dtype).name}[{len(one.shape)}]" for one in (*operands, *outs)]
        types += [f"{name}: {value.dtype.name}" for name, value in scalars.items()]
        name = f"{self.body.__module__}.{self.body.__name__}({', '.join(types)})"
        attributes |= scalars
        with _COMPILING:
            if name not in self._targets:
                self._register(name, operands, outs, attributes)
        return jax.ffi.ffi_call(name, results, input_output_aliases=dict(aliases or {}))(*operands, **attributes)

    def _register(self, name: str, operands: Any, results: Any, attributes: dict[str, Any]) -> None:
        from .build import Handler

        handler = Handler(name, self.body, operands, results, attributes)
        jax.ffi.register_ffi_target(name, handler.capsule(), platform="cpu")
        _REGISTERED.append(handler)
        self._targets.add(name)


def kernel(body: Callable[..., None]) -> Kernel:
    """Makes a kernel of `body(start, stop, *operands, *results, *constants)`, which computes the units [start, stop).

    The body is compiled by Numba in nopython mode and may use `lanes`, `vectors` and functions marked `helper`. Arrays
    are C-contiguous; those of bfloat16, float16 and float8_e4m3fn come as the uint16, int16 and uint8 of their bits. What
    the body does not write is not initialised.
    Bodies run at the same time for different units. They must not block, raise or allocate.

    Machine code is kept on disk and found again by the names of the body and its module, the types, and the source of
    this package and of the body's folder. So a body must not depend on any other value that can change.
    """
    # Machine code is named by this and its types. Of two that came from disk under one name, only the first would ever run:
    # bodies that one function makes must not share theirs.
    body.__qualname__ = body.__name__
    return Kernel(body)


@cache
def unusable() -> str | None:
    """Why kernels cannot run here, or None: what `refuses` of an implementation that is a kernel must say."""
    if os.name != "posix":
        return "kernels compiled by Numba need a POSIX system"
    try:
        from . import build, engine
    except ImportError as error:
        return f"Numba cannot be imported: {error}"
    try:
        major, _ = build.api_version(jax.ffi.include_dir())
    except (OSError, ValueError) as error:
        return f"the version of jaxlib's FFI is unknown: {error}"
    if major != engine.API_MAJOR:
        return f"jaxlib's FFI is of major version {major}, and this code reads version {engine.API_MAJOR}"
    return None
