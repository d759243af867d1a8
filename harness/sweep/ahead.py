"""Composes the next job's configuration while the job in hand is prepared: a tenth of a second of a CPU each."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from omegaconf import DictConfig

from ..host.exclusive import Device

_UNTIL_BEGUN_S = 0.05
"""What this process takes to hand a job to its worker; composing meanwhile would delay that."""


class Ahead:
    """Hydra's loader of configurations, one job ahead of the launcher that asks it, and never while somebody measures.

    For a launcher that runs one job after the other in this process. Which overrides it will ask for it is told.

    Args:
        loader: Hydra's own.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        self._next: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._made: dict[tuple[str, ...], Future[DictConfig]] = {}

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "_loader":
            # Asked of a copy that has nothing yet.
            raise AttributeError(name)
        return getattr(self._loader, name)

    def expect(self, jobs: Sequence[Sequence[str]]) -> None:
        """Says what will be asked for, in order."""
        words = [tuple(job) for job in jobs]
        self._next = dict(itertools.pairwise(words))

    def load_sweep_config(self, master_config: DictConfig, sweep_overrides: list[str]) -> DictConfig:
        """A job's configuration; that of the next is begun."""
        words = tuple(sweep_overrides)
        made = self._made.pop(words, None)
        config = made.result() if made else self._loader.load_sweep_config(master_config, sweep_overrides)
        if (following := self._next.get(words)) is not None:
            self._made[following] = future = Future()
            timer = threading.Timer(_UNTIL_BEGUN_S, self._make, (future, master_config, following))
            timer.daemon = True
            timer.start()
        return config

    def _make(self, future: Future[DictConfig], master_config: DictConfig, words: tuple[str, ...]) -> None:
        try:
            with Device("cpu").shared():
                future.set_result(self._loader.load_sweep_config(master_config, list(words)))
        except Exception as error:
            # It is raised where the configuration is asked for.
            future.set_exception(error)
