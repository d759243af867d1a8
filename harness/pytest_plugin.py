"""The gate inside pytest: a fixture that times two callables by turns and fails the test where the head is slower.

pytest loads this wherever roofcast is installed, so it imports nothing but pytest until a test asks for the fixture.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from .gate.verdict import Verdict

_POLICY = ("least", "false_discovery", "confirmations", "most_confirmations")
_EFFORT = ("least_quads", "most_quads", "budget_s", "inconclusive_fails")


def pytest_configure(config: pytest.Config) -> None:
    """Makes the marker known."""
    config.addinivalue_line(
        "markers",
        f"roofcast_gate({', '.join(f'{name}=...' for name in (*_POLICY, *_EFFORT))}): "
        "what the fixture roofcast_gate counts as slower, and how long it measures; names and defaults of `roofcast gate`.",
    )


@pytest.fixture
def roofcast_gate(request: pytest.FixtureRequest) -> Callable[..., Verdict | None]:
    """`roofcast_gate(base=callable, head=callable)`: fails where the head is slower, or else returns the verdict.

    With pytest-benchmark's `--benchmark-disable` each is called once, nothing is timed and None is returned; with
    `--benchmark-skip` the test is skipped.
    """
    if request.config.getoption("benchmark_skip", default=False):
        pytest.skip("--benchmark-skip was given")
    is_off = request.config.getoption("benchmark_disable", default=False)
    if request.config.getoption("benchmark_enable", default=False):
        is_off = False
    choices = _choices(request.node.get_closest_marker("roofcast_gate"))

    def gate(*, base: Callable[[], Any], head: Callable[[], Any]) -> Verdict | None:
        if is_off:
            base()
            head()
            return None
        from .gate.callables import compare_callables
        from .gate.verdict import Policy

        policy = Policy(**{name: choices[name] for name in _POLICY if name in choices})
        effort = {name: choices[name] for name in _EFFORT[:-1] if name in choices}
        found = compare_callables(base, head, policy, **effort)
        request.node.user_properties.append(("roofcast_gate", f"{found.ruling}: {found.reason}"))
        if found.ruling == "slower" or (found.ruling == "inconclusive" and choices.get("inconclusive_fails", False)):
            pytest.fail(f"{found.ruling}: {found.reason}", pytrace=False)
        return found

    return gate


def _choices(marker: pytest.Mark | None) -> dict[str, Any]:
    if marker is None:
        return {}
    unknown = [*map(repr, marker.args), *(name for name in marker.kwargs if name not in (*_POLICY, *_EFFORT))]
    if unknown:
        raise pytest.UsageError(f"roofcast_gate takes {', '.join((*_POLICY, *_EFFORT))} by name; got {', '.join(unknown)}")
    return dict(marker.kwargs)
