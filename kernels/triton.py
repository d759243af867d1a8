"""What GPU kernels written in Pallas share: Triton on a GPU, and JAX's interpreter elsewhere, where they are tested.

Triton wants blocks whose extents are powers of two, so that arrays of other sizes are read and written under a mask.
From 0.12 on JAX calls this way into Triton deprecated; it works in every JAX that the project supports.
"""

from __future__ import annotations

import importlib
import operator
import re
from collections.abc import Callable
from functools import reduce
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool

from .op import Workload


def _imported(name: str) -> Any:
    """A module, or None where this JAX lacks it: `unusable` says so, and no kernel is ever called."""
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


pl, backend = _imported("jax.experimental.pallas"), _imported("jax.experimental.pallas.triton")

_LEAST_CAPABILITY = 8.0
_FP8_CAPABILITY = 8.9
_MOST_ELEMENTS = 2**31


def unusable() -> str | None:
    """What this machine lacks to run a Pallas kernel, or None."""
    if pl is None or backend is None:
        return "jax.experimental.pallas and its Triton backend cannot be imported"
    return needs_capability(_LEAST_CAPABILITY, "Triton's kernels")


def gpu_version() -> str:
    """The compute capability of an NVIDIA GPU, such as 9.0; the architecture of an AMD GPU, such as gfx942; or nothing."""
    return str(getattr(jax.devices()[0], "compute_capability", ""))


def needs_capability(least: float, what: str) -> str | None:
    """Why `what` cannot run here, or None: the GPU's compute capability is known and is below `least`."""
    version = gpu_version()
    if re.fullmatch(r"\d+\.\d+", version) and float(version) < least:
        return f"{what} need a GPU of compute capability {least} or above; this one has {version}"
    return None


def unreadable(workload: Workload) -> str | None:
    """Why the kernels cannot read a workload's operands, or None: offsets are 32-bit, and 8-bit floats came late."""
    for name, tensor in workload.operands().items():
        if tensor.elements > _MOST_ELEMENTS:
            return f"{name} has {tensor.elements} elements; the kernel's offsets reach {_MOST_ELEMENTS}"
        if tensor.format in ("fp8", "fp8_block") and (lacking := needs_capability(_FP8_CAPABILITY, "conversions from fp8")):
            return lacking
    return None


def call(kernel: Callable[..., None], *operands: Any, grid: tuple[int, ...], results: Any, warps: int, stages: int) -> Any:
    """Runs `kernel(*operands, *results)`, all references to whole arrays, once for each point of the grid.

    Args:
        kernel: its body.
        operands: arrays that it reads, and lists of them.
        grid: how many programs there are along up to three axes; the first is the fastest.
        results: `jax.ShapeDtypeStruct` of each array that it writes, as one or as a tuple.
        warps: groups of 32 threads per program.
        stages: iterations of a loop that the compiler may load ahead.
    """
    return pl.pallas_call(
        kernel,
        grid=grid,
        out_shape=results,
        interpret=jax.default_backend() != "gpu",
        compiler_params=backend.CompilerParams(num_warps=warps, num_stages=stages),
    )(*operands)


def inside(start: Any, extents: tuple[int, ...], axis: int, limit: int | None) -> Bool[Array, "*extents"] | None:
    """Which elements of a block that begins at `start` along one axis lie below `limit`; None where there is no limit."""
    return None if limit is None else start + lax.broadcasted_iota(jnp.int32, extents, axis) < limit


def load(reference: Any, *masks: Bool[Array, "*axes"] | None) -> Array:
    """The elements that a reference names, and zeros where a mask is false."""
    mask = _all(masks)
    if mask is None:
        return backend.load(reference)
    # Triton turns no whole number into an 8-bit float.
    return backend.load(reference, mask=mask, other=0.0 if jnp.issubdtype(reference.dtype, jnp.floating) else 0)


def store(reference: Any, values: Array, *masks: Bool[Array, "*axes"] | None) -> None:
    """Writes the elements that a reference names where no mask is false."""
    backend.store(reference, values, mask=_all(masks))


def _all(masks: tuple[Bool[Array, "*axes"] | None, ...]) -> Bool[Array, "*axes"] | None:
    known = [mask for mask in masks if mask is not None]
    return reduce(operator.and_, known) if known else None


def power_of_two(least: int) -> int:
    """The smallest power of two that is no less."""
    return 1 << (least - 1).bit_length()
