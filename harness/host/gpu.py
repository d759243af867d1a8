"""A GPU's last-level cache."""

from __future__ import annotations

from collections.abc import Callable

from ..errors import UsageError
from ..facts.devices import device_named
from .nvidia import l2_bytes


def cache_bytes(device_kind: str, ask: Callable[[], int | None] = l2_bytes) -> dict[str, int]:
    """The data cache that all multiprocessors share, by level: the driver's word, else the catalogue's of that name.

    Args:
        device_kind: JAX's name of the device.
        ask: asks the driver.

    Raises:
        UsageError: where neither tells, for copies could not be rotated through more than it.
    """
    if said := ask():
        return {"L2": said}
    try:
        if known := device_named(device_kind).l2_mb:
            return {"L2": round(known.value * 1e6)}
    except UsageError:
        pass
    raise UsageError(
        "the GPU's L2 cache must be known to measure from memory; neither libcuda.so.1 nor a file of conf/device has it for "
        f"{device_kind!r}"
    )
