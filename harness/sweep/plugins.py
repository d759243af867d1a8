"""Makes the sweepers known to Hydra."""

from __future__ import annotations

from dataclasses import dataclass

from hydra.core.config_store import ConfigStore
from hydra.core.plugins import Plugins

from .sweeper import ResumingSweeper
from .tuner import Configuration as TuningConfiguration
from .tuner import TuningSweeper


def register(exit_codes: list[int]) -> None:
    """Makes the sweepers known to Hydra, and the list to them that they add their exit code to."""
    ResumingSweeper.exit_codes = exit_codes
    # Hydra takes plugins from one namespace alone, and would import all that is installed there in every program.
    Plugins.instance().class_name_to_class[_Configuration._target_] = ResumingSweeper
    Plugins.instance().class_name_to_class[TuningConfiguration._target_] = TuningSweeper
    store = ConfigStore.instance()
    store.store(group="hydra/sweeper", name="roofcast", node=_Configuration)
    store.store(group="hydra/sweeper", name="tune", node=TuningConfiguration)


@dataclass
class _Configuration:
    _target_: str = "hydra_plugins.roofcast.ResumingSweeper"
    max_batch_size: int | None = None
    params: dict[str, str] | None = None
