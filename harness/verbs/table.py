"""`roofcast table`: what the store holds for a step, or a grid of predictions. Imports no JAX."""

from __future__ import annotations

import importlib

from omegaconf import DictConfig


def run(config: DictConfig) -> int:
    """Shows the one or the other. Returns 1 if some files of the store cannot be read."""
    # A grid needs neither the store's database nor the fit to its measurements, whose imports take as long as it does.
    return importlib.import_module(".table_of_grid" if config.grid else ".table_of_store", __package__).run(config)
