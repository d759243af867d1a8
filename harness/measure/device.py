"""Which device JAX computes on, and what memory it has left."""

import jax


def backend_and_kind() -> tuple[str, str]:
    """JAX's names of the backend (`cpu`, `gpu`) and of its first device."""
    return jax.default_backend(), jax.devices()[0].device_kind


def free_device_bytes() -> float | None:
    """What JAX may still allocate on its first device, None where it does not count (CPU)."""
    said = jax.devices()[0].memory_stats() or {}
    return said["bytes_limit"] - said.get("bytes_in_use", 0) if "bytes_limit" in said else None
