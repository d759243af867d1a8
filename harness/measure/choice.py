"""Which implementations of a call are measured."""

from __future__ import annotations

from ...kernels.op import Implementation, Workload
from ...kernels.registry import supported


def chosen(workload: Workload, choice: str, backend: str) -> tuple[list[Implementation], dict[str, str]]:
    """The implementations that a choice means, and those that were passed over with their reasons.

    Args:
        workload: what is to be computed.
        choice: `default` (the best that supports the workload), `all`, or a name.
        backend: JAX's name of it.
    """
    able, refused = _offered(workload, backend, peers=False)
    if choice == "default":
        # What the machine lacks is worth a word; what was made for other calls is not.
        offered = (one for one, _ in supported(workload, backend))
        lacking = {one.name: reason for one in offered if (reason := one.missing())}
        return able[:1], lacking if able else refused
    return _named(workload, choice, able, refused, f"{workload.op} has no implementation of that name on {backend}")


def chosen_peers(workload: Workload, choice: str, backend: str) -> tuple[list[Implementation], dict[str, str]]:
    """Other libraries to measure beside ours, and those that were passed over with their reasons.

    Args:
        workload: what is to be computed.
        choice: `none`, `all`, or a library's name such as `torch`.
        backend: JAX's name of it.
    """
    if choice == "none":
        return [], {}
    able, refused = _offered(workload, backend, peers=True)
    choice = choice if choice == "all" else f"peers.{choice}"
    return _named(workload, choice, able, refused, f"no such library computes {workload.op} here")


def _offered(workload: Workload, backend: str, *, peers: bool) -> tuple[list[Implementation], dict[str, str]]:
    offered = list(supported(workload, backend, peers=peers))
    return [one for one, reason in offered if reason is None], {one.name: reason for one, reason in offered if reason}


def _named(
    workload: Workload, choice: str, able: list[Implementation], refused: dict[str, str], unknown: str
) -> tuple[list[Implementation], dict[str, str]]:
    if choice == "all":
        return able, refused
    named = [one for one in able if one.name == choice]
    missing = {} if named or choice in refused else {choice: unknown}
    return named, missing | {name: reason for name, reason in refused.items() if name == choice}
