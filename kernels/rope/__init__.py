"""Rotary position embedding of the new token's queries and keys."""

from .workload import Rope

__all__ = ["Rope"]
