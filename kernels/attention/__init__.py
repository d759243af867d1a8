"""Decode attention: one query token against the cache."""

from .workload import Attention

__all__ = ["Attention"]
