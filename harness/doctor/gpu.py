"""What about a GPU spoils a measurement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..host.nvidia import GpuState
from .finding import Finding

_HOT_C = 80
"""Degrees from which data-centre GPUs come near their slowdown."""
_BUSY_PERCENT, _TAKEN_MIB = 5, 1024
"""What another process may take of a GPU before it is worth a word."""
_OFF = ("0", "false")


def findings(state: GpuState | None, variables: Mapping[str, str]) -> Iterator[Finding]:
    """What the state of a GPU and JAX's settings for its memory mean for a measurement.

    Args:
        state: None where nvidia-smi does not answer.
        variables: of the environment.
    """
    if state is None:
        what = "nvidia-smi does not answer: clocks and throttling are not recorded"
        yield Finding("gpu", "note", what, "Install the driver's nvidia-smi.")
    else:
        yield _clock(state)
        yield _others(state)
    yield _allocator(variables)


def _clock(state: GpuState) -> Finding:
    clock = f"{state.sm_clock_mhz:.0f} MHz" if state.sm_clock_mhz is not None else "an unknown clock"
    most = f" of {state.sm_clock_most_mhz:.0f}" if state.sm_clock_most_mhz is not None else ""
    what = f"{state.name}, driver {state.driver}, at {clock}{most}"
    if causes := ", ".join(state.throttled_by):
        return Finding("gpu clock", "warning", f"{what}, slowed down: {causes}", "Wait, cool it, or raise its power limit.")
    if state.temperature_c is not None and state.temperature_c >= _HOT_C:
        return Finding("gpu clock", "warning", f"{what}, at {state.temperature_c:.0f} C", "Let it cool.")
    return Finding("gpu clock", "ok", what)


def _others(state: GpuState) -> Finding:
    busy, taken = state.utilization_percent or 0, state.memory_used_mib or 0
    what = f"{busy:.0f} % busy, {taken:.0f} MiB taken"
    if busy > _BUSY_PERCENT or taken > _TAKEN_MIB:
        return Finding("gpu use", "warning", f"{what} before anything of ours runs", "End the other process, or wait for it.")
    return Finding("gpu use", "ok", what)


def _allocator(variables: Mapping[str, str]) -> Finding:
    if variables.get("XLA_PYTHON_CLIENT_ALLOCATOR", "").lower() == "platform":
        what = "XLA_PYTHON_CLIENT_ALLOCATOR=platform: every buffer is allocated by the driver, within the host's times"
        return Finding("gpu memory", "warning", what, "Unset it.")
    if variables.get("XLA_PYTHON_CLIENT_PREALLOCATE", "").lower() in _OFF:
        what = (
            "XLA_PYTHON_CLIENT_PREALLOCATE is off: memory is taken as it is needed, which may fragment it and slow first calls"
        )
        return Finding("gpu memory", "note", what, "Unset it, unless others need the memory.")
    share = variables.get("XLA_PYTHON_CLIENT_MEM_FRACTION", "")
    said = f"JAX takes {share} of the memory" if share else "JAX takes its usual share of the memory, three quarters"
    return Finding("gpu memory", "ok", f"{said} at once; operands must fit half of it")
