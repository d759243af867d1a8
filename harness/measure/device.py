"""Which device JAX computes on."""

import jax


def backend_and_kind() -> tuple[str, str]:
    """JAX's names of the backend (`cpu`, `gpu`) and of its first device."""
    return jax.default_backend(), jax.devices()[0].device_kind
