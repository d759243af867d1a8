"""The feed-forward's non-linearity."""

from .workload import Activation

__all__ = ["Activation"]
