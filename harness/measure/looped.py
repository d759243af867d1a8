"""Samples of a kernel that is short against a dispatch: a compiled loop calls it, so that one dispatch pays for many calls."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...kernels.op import Implementation, Workload
from . import loops
from .compiled import spec
from .direct import overhead_s
from .overlap import overlapped
from .place import placed, stack
from .ready_call import ReadyCall
from .spent import compiling
from .timer import HOST, Call
from .wake import wake

MOST_TURNS = 10**8
"""A loop that is still too short then has lost its calls to the compiler; its samples will be refused as impossible."""


class LoopedCalls:
    """A compiled loop over copies of what streams, each call waiting for the one before.

    Attributes:
        turns: of the loop in one sample.
        overhead_s: of a call's time, what is not the program's.
    """

    def __init__(
        self,
        workload: Workload,
        one: Implementation,
        first: Mapping[str, Any],
        hot: Mapping[str, Any],
        copies: int,
        *,
        stacked: bool,
        before_sample: Call | None,
    ) -> None:
        """Compiles the loop while the copies are laid out.

        Args:
            workload, one: what is called, and by which code.
            first: one copy of what streams.
            hot: other operands, which all calls share.
            copies: of what streams.
            stacked: they are one array that the loop slices; else each is an argument, and a turn calls the kernel on all.
            before_sample: done before each, and not timed.
        """
        carried = {name: first[name] for name in workload.donated if name in first}
        kept = {name: value for name, value in first.items() if name not in carried}
        like = jax.tree.map(spec, kept)

        def pooled() -> Any:
            if stacked:
                return jax.tree.map(lambda leaf: stack(loops.bits(leaf), copies), kept)
            return [kept, *placed(kept, copies - 1)]

        with overlapped(pooled) as made, compiling():
            shapes = jax.eval_shape(functools.partial(one.function, workload), **first, **hot)
            # Where buffers are handed on, they are the chain; elsewhere the results are.
            results = jnp.zeros(()) if carried else jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
            self._state: loops.State = (carried, dict(hot), results)
            pool_like = jax.tree.map(lambda leaf: loops.stacked(leaf, copies), like) if stacked else [like] * copies
            number = jax.ShapeDtypeStruct((), jnp.int32)
            loop = jax.jit(functools.partial(loops.turns, workload, one, like if stacked else None), donate_argnums=(1,))
            self._program = loop.lower(pool_like, jax.tree.map(spec, self._state), number, number).compile()
        self._pool = made()
        self._before_sample = before_sample
        self._first_turn = 0
        self._calls_per_turn = 1 if stacked else copies
        self.turns = 1
        self.overhead_s = 0.0

    @property
    def calls(self) -> int:
        """In one sample."""
        return self.turns * self._calls_per_turn

    def sample(self) -> float:
        """Seconds per call."""
        return self._run(self.turns) / self.calls

    def take_turns(self, calls: int) -> None:
        """A sample is so many calls from now on, or a few more."""
        self.turns = math.ceil(calls / self._calls_per_turn)

    def last(self, seconds: float, most_turns: int, trials: int) -> None:
        """Takes more turns until a sample lasts so long, or as many as there may be.

        Args:
            seconds: that the fastest of several runs is to take: whoever computes beside them makes some longer.
            most_turns: of a sample.
            trials: runs at the most.
        """
        self._run(1)
        while (fastest := self._fastest(seconds, trials)) < seconds and self.turns < most_turns:
            self.turns = min(most_turns, math.ceil(self.turns * min(8.0, max(1.5, 1.2 * seconds / fastest))))

    def _fastest(self, wanted_s: float, trials: int) -> float:
        seconds = min(self._run(self.turns) for _ in range(2))
        return seconds if seconds < wanted_s else min(seconds, *(self._run(self.turns) for _ in range(trials - 2)))

    def _run(self, turns: int) -> float:
        bounds = np.int32(self._first_turn), np.int32(self._first_turn + turns)
        call = ReadyCall(self._program, (self._pool, self._state, *bounds))
        if self._before_sample:
            self._before_sample()
        seconds = HOST.seconds([call], wake())
        self._state = call.results
        if not self.overhead_s:
            self.overhead_s = overhead_s(call) / (turns * self._calls_per_turn)
        # Go on where the last sample stopped: rows and copies that it left in cache are not visited again at once.
        self._first_turn = (self._first_turn + turns) % MOST_TURNS
        return seconds
