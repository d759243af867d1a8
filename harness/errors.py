"""The one kind of error that a user causes and can mend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


class UsageError(Exception):
    """Bad input, said in one sentence that names the field, the value and what would be accepted."""


def chosen(field: str, value: Any, accepted: Sequence[str]) -> str:
    """The value, if it is one of those accepted; otherwise a UsageError that names them."""
    if value not in accepted:
        raise UsageError(f"{field} must be one of {', '.join(accepted)}; got {value!r}")
    return value
