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
    if choice == "all":
        return able, refused
    if named := [one for one in able if one.name == choice]:
        return named, {}
    return [], {choice: refused.get(choice, f"{workload.op} has no implementation of that name on {backend}")}


def chosen_peers(workload: Workload, choice: str, backend: str) -> tuple[list[Implementation], dict[str, str]]:
    """Other libraries to measure beside ours, and those that were passed over with their reasons.

    A library that has no routine for the op at all is not offered for it, so it is not passed over either.

    Args:
        workload: what is to be computed.
        choice: `none`, `all`, or a library's name such as `torch`.
        backend: JAX's name of it.
    """
    if choice == "none":
        return [], {}
    able, refused = _offered(workload, backend, peers=True)
    if choice == "all":
        return able, refused
    name = f"peers.{choice}"
    return [one for one in able if one.name == name], {name: refused[name]} if name in refused else {}


def _offered(workload: Workload, backend: str, *, peers: bool) -> tuple[list[Implementation], dict[str, str]]:
    offered = list(supported(workload, backend, peers=peers))
    return [one for one, reason in offered if reason is None], {one.name: reason for one, reason in offered if reason}
