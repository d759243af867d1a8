"""Which device JAX computes on, and what memory it has left."""

import jax


def backend_and_kind() -> tuple[str, str]:
    """JAX's names of the backend (`cpu`, `gpu`) and of its first device; to be asked before anything else of JAX.

    From then on a CPU's calls run on the thread that makes them, so that what is timed one after the other meets one core.
    JAX would hand all but the smallest to a thread of its own, which may wake on another core at every call, and each core of a
    shared machine has its own neighbours.
    """
    # Read when JAX makes its client, and without effect after that.
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    return jax.default_backend(), jax.devices()[0].device_kind


def free_device_bytes() -> float | None:
    """What JAX may still allocate on its first device, None where it does not count (CPU)."""
    said = jax.devices()[0].memory_stats() or {}
    return said["bytes_limit"] - said.get("bytes_in_use", 0) if "bytes_limit" in said else None
