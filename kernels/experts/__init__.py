"""The chosen experts of a mixture: several matrices out of many, each times a vector."""

from .workload import Experts

__all__ = ["Experts"]
