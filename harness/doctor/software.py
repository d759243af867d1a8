"""What about the software and its settings spoils a measurement."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path

from ..errors import UsageError
from ..host import linux
from ..host.nvidia import DRIVER as NVIDIA_DRIVER
from ..host.provenance import version_of
from ..store.store import Store
from .finding import Finding, Level

JAX_VERSIONS = ((0, 10), (0, 12))
"""Oldest and newest minor version that the program is tested with."""

_SETTINGS: Mapping[str, tuple[Level, str, str]] = {
    "JAX_DISABLE_JIT": ("error", "nothing is compiled", "Unset it."),
    "JAX_DEBUG_NANS": ("warning", "every result is checked for NaN", "Unset it."),
    "JAX_DEBUG_INFS": ("warning", "every result is checked for infinity", "Unset it."),
    "JAX_ENABLE_X64": ("warning", "numbers may be 64 bits wide", "Unset it."),
    "JAX_DEFAULT_MATMUL_PRECISION": ("warning", "matrix products take another precision than usual", "Unset it."),
    "XLA_FLAGS": ("warning", "the compiler's own choices are overridden", "Unset it, unless the flags are what you measure."),
}
_OFF = ("", "0", "false", "no", "off")


def jax_version(version: str) -> Finding:
    """Whether JAX is there and of a version that is tested."""
    oldest, newest = (".".join(map(str, one)) for one in JAX_VERSIONS)
    wanted = f"Install a version from {oldest} to {newest}."
    if not version:
        return Finding("jax", "error", "JAX is not installed", wanted)
    major, minor = (int(part) for part in version.split(".")[:2])
    if JAX_VERSIONS[0] <= (major, minor) <= JAX_VERSIONS[1]:
        return Finding("jax", "ok", f"JAX {version}")
    return Finding("jax", "warning", f"JAX {version} is not between {oldest} and {newest}, which are tested", wanted)


def numba() -> Finding:
    """Whether kernels written in Numba can be compiled."""
    if find_spec("numba") is None:
        return Finding("numba", "note", "Numba is not installed; kernels that need it are left out", "pip install numba")
    return Finding("numba", "ok", f"Numba {version_of('numba')}")


def environment(variables: Mapping[str, str]) -> Iterator[Finding]:
    """One finding per variable that changes how fast code is, or one that there is none. See `host.speed_variables`."""
    active = {name: value for name, value in variables.items() if value.lower() not in _OFF}
    if not active:
        yield Finding("environment", "ok", "no variable changes what JAX or the compiler does")
    for name, value in active.items():
        level, effect, advice = _SETTINGS.get(name, ("note", "it is recorded with every measurement", ""))
        yield Finding("environment", level, f"{name}={value}: {effect}", advice)


def results(place: Path | str) -> Finding:
    """Whether measurements can be kept. Where a folder is still to be made, its nearest parent is tried instead."""
    try:
        Store(place if "://" in str(place) else _existing(Path(place))).check_writable()
    except UsageError as error:
        what = f"measurements cannot be kept in {place}: {error}"
        return Finding("results", "error", what, "Name another folder: results=FOLDER.")
    return Finding("results", "ok", f"measurements can be kept in {place}")


def _existing(folder: Path) -> Path:
    return next((one for one in (folder, *folder.absolute().parents) if one.exists()), folder)


def jax_runtime(root: Path) -> Iterator[Finding]:
    """What JAX itself says. Imports it and starts its backend."""
    try:
        import jax

        backend, devices = jax.default_backend(), jax.devices()
    except Exception as error:  # A backend that fails to start may raise anything; that is the finding.
        yield Finding("jax device", "error", f"JAX does not start: {type(error).__name__}: {error}", "Mend the installation.")
        return
    kinds = ", ".join(dict.fromkeys(device.device_kind for device in devices))
    what = f"backend {backend}, {len(devices)} device{'s' if len(devices) > 1 else ''} ({kinds})"
    if backend == "cpu" and linux.text(root, NVIDIA_DRIVER) is not None:
        advice = "There is an NVIDIA driver: pip install 'roofcast[cuda]' to measure the GPU."
        yield Finding("jax device", "warning", f"{what}, though a GPU is here", advice)
    else:
        yield Finding("jax device", "ok", what)
    yield _arithmetic()
    yield _donation()
    if jax.numpy.asarray(0.5).dtype.itemsize == 8:
        yield Finding("64-bit", "warning", "JAX computes in 64 bits where it is not told otherwise", "Unset jax_enable_x64.")
    else:
        yield Finding("64-bit", "ok", "JAX computes in 32 bits")
    if folder := jax.config.values.get("jax_compilation_cache_dir"):
        what = f"compiled programs are kept in {folder}; compile times may be those of a look-up"
        yield Finding("compilation cache", "note", what, "Unset JAX_COMPILATION_CACHE_DIR to time compilation.")
    else:
        yield Finding("compilation cache", "ok", "every program is compiled afresh")


def _arithmetic() -> Finding:
    """On a CPU, XLA asks /proc what the processor can, and fails in the first large sum where that is hidden."""
    import jax

    try:
        jax.block_until_ready(jax.numpy.ones(2**16).sum())
    except Exception as error:  # As above.
        what = f"JAX cannot add up numbers: {type(error).__name__}: {error}"
        return Finding("arithmetic", "error", what, "Let this process see /proc, or mend the installation.")
    return Finding("arithmetic", "ok", "JAX computes")


def _donation() -> Finding:
    import jax

    with warnings.catch_warnings():
        # JAX warns where a donated buffer is not used: just what is to be found out.
        warnings.simplefilter("ignore")
        x = jax.numpy.zeros(1024)
        jax.block_until_ready(jax.jit(lambda x: x + 1, donate_argnums=0)(x))
    if x.is_deleted():
        return Finding("donation", "ok", "a donated cache is updated in place")
    what = "donated buffers are copied: every update of the KV cache moves all of it"
    return Finding("donation", "warning", what, "Doubt figures of kernels that update a cache.")
