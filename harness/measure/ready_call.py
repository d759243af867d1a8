"""One call of a compiled program with all of its operands at hand: what stands between two readings of the clock."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax


class ReadyCall:
    """Calls a program and waits for its results. Nothing else may be done here: it would be timed as the program.

    Attributes:
        results: of the last call.
    """

    __slots__ = ("_args", "_kwargs", "_program", "results")

    def __init__(self, program: Callable[..., Any], args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None) -> None:
        self._program = program
        self._args = args
        self._kwargs = kwargs or {}
        self.results: Any = None

    def __call__(self) -> None:
        self.results = results = self._program(*self._args, **self._kwargs)
        # What one execution gives is there all at once, and a step gives some hundred arrays.
        jax.block_until_ready(results[-1] if isinstance(results, tuple) else results)

    def without_program(self) -> ReadyCall:
        """The same call of a program that takes no time and gives the last results: its time is all overhead."""
        results = self.results
        return ReadyCall(lambda *args, **kwargs: results, self._args, self._kwargs)
